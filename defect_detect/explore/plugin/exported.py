"""The pictures of a view with their labels, as a COCO file for a labelling tool or for another training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from defect_detect.data.files import atomic_write
from defect_detect.data.regions import to_coco
from defect_detect.errors import ConfigError, Fault
from defect_detect.explore import columns
from defect_detect.explore.plugin.corrected import corrected
from defect_detect.report import wording
from defect_detect.tables import Dataset, Ints


def free(folder: Path) -> Path:
    """A file in the comparison's folder that isn't there yet."""
    number = 1
    while (path := folder / "exports" / f"view-{number}.json").exists():
        number += 1
    return path


def export(view: Any, folder: Path, out: object = None) -> str:
    """Write the view's pictures with all their labels as the marks correct them; says what was written, and where.

    All labels of a picture, whatever the view hides of them: a picture with some of its defects unlabelled would
    teach a detector to miss them.

    Raises:
        ConfigError: the view is empty, or the file exists or can't be written.
    """
    path = Path(str(out)).expanduser() if out else free(folder)
    if path.exists():
        raise ConfigError(Fault(where=str(path), expected="a new file", found="one that exists"))
    truth = corrected(columns.load(folder))[0].truth
    rows = _rows(view, truth)
    if not len(rows):
        raise ConfigError(Fault(where="the view", expected="at least one picture", found="none"))
    content = coco(truth, rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, msgspec.json.encode(content))
    except OSError as error:
        raise ConfigError(
            Fault(where=str(path), expected="a file that can be written", found=error.strerror or str(error))
        ) from error
    count = wording.plural(len(content["annotations"]), "label")
    return f"{wording.plural(len(rows), 'picture')} with {count} in {path}; the pictures are in {truth.root.resolve()}"


def coco(truth: Dataset, rows: Ints) -> dict[str, Any]:
    """These pictures as COCO; ids and names are those of the normalized dataset."""
    images, defects = truth.images, truth.defects
    of = np.flatnonzero(np.isin(defects.image, rows))
    return {
        "images": [
            {"id": int(images.id[row]), "file_name": images.file[row], "width": int(images.size[row, 0]),
             "height": int(images.size[row, 1])}
            for row in rows.tolist()
        ],
        "categories": [{"id": one.id, "name": one.name} for one in truth.categories],
        "annotations": [_annotation(truth, row) for row in of.tolist()],
    }  # fmt: skip


def _annotation(truth: Dataset, row: int) -> dict[str, Any]:
    defects = truth.defects
    x0, y0, x1, y1 = defects.box[row].tolist()
    told = {
        "id": int(defects.id[row]),
        "image_id": int(truth.images.id[defects.image[row]]),
        "category_id": truth.categories[defects.label[row]].id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(defects.area[row]),
        "iscrowd": int(defects.crowd[row]),
        "ignore": int(defects.ignore[row]),
    }
    if defects.region is not None:
        told["segmentation"] = to_coco(defects.region[row])
    return told


def _rows(view: Any, truth: Dataset) -> Ints:
    """The view's pictures as rows, rising."""
    # Patches have other ids, and no field of their picture but its file.
    files = {str(truth.root.resolve() / file): row for row, file in enumerate(truth.images.file)}
    return np.unique([files[path] for path in view.values("filepath") if path in files]).astype(np.int64)
