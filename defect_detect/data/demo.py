"""The demo data: an export of surface pictures with defects that a line's inspector would know.

Every part is photographed twice, by the left and the right camera, each on its own half; the two
pictures share the part's texture and its `group`. A third of the pictures shows no defect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defect_detect import geometry
from defect_detect.data.brush import noise
from defect_detect.data.files import atomic_write
from defect_detect.data.flaws import FLAWS
from defect_detect.data.surfaces import SURFACES, litter
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Bools, Floats

IMAGES = 400
SIZE = 160
SMALLEST = 64
CAMERAS = ("left", "right")
_SEVERITY = {"scratch": "major", "pit": "minor", "stain": "minor", "crack": "critical"}
_MADE_BY = "defect_detect demo"
_MIX = {
    "brushing": {"scratch": 0.40, "pit": 0.25, "stain": 0.20, "crack": 0.15},
    "weaving": {"scratch": 0.25, "pit": 0.25, "stain": 0.35, "crack": 0.15},
    "casting": {"scratch": 0.18, "pit": 0.37, "stain": 0.10, "crack": 0.35},
}
"""How often a defect of each line is of each category."""
_GRAIN = {"left": 2.0, "right": 3.0}
"""Standard deviation of a camera's noise, in grey levels; the right one is the older."""
_MOST = 5
"""Defects in one picture."""
_LEAST_AREA = 12
"""px: less of a defect than this left inside the picture, and it is drawn again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One photograph: (H, W, 3) uint8, and its defects as (category, (H, W) mask, contrast)."""

    pixels: NDArray[np.uint8]
    defects: tuple[tuple[str, Bools, float], ...]


def generate(
    out: Path,
    *,
    images: int = IMAGES,
    size: int = SIZE,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `out/annotations.json` and `out/images/*.png`, `size` x `size` px; return the former.

    Equal arguments give equal bytes. `progress` is called with pictures done and pictures in all.
    The annotations come last, so that where they are the demo is whole.

    Raises:
        DatasetError: too few or too small pictures, or `out` holds another dataset.
        OSError: `out` can't be written.
    """
    from PIL import Image

    _check(out, images, size)
    (out / "images").mkdir(parents=True, exist_ok=True)
    names = tuple(FLAWS)
    rows: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, defective in enumerate(_plan(images, seed)):
        part, view = divmod(index, len(CAMERAS))
        picture = photograph(seed, part, view, size, defective=defective)
        name = f"part{part + 1:04d}_{CAMERAS[view]}.png"
        Image.fromarray(picture.pixels).save(out / "images" / name, optimize=False)
        rows.append({
            "id": index + 1, "file_name": name, "width": size, "height": size,
            "group": f"part{part + 1:04d}", "camera": CAMERAS[view], "line": _line(part),
        })  # fmt: skip
        for category, mask, contrast in picture.defects:
            annotations.append({
                "id": len(annotations) + 1, "image_id": index + 1, "category_id": names.index(category) + 1,
                **_outline(mask), "iscrowd": 0, "contrast": round(contrast, 2),
            })  # fmt: skip
        if progress is not None:
            progress(index + 1, images)
    info = {"description": f"{images} generated surfaces with defects, seed {seed}", "contributor": _MADE_BY}
    categories = [
        {"id": number, "name": name, "supercategory": "defect", "severity": _SEVERITY[name]}
        for number, name in enumerate(names, 1)
    ]
    export = {"info": info, "images": rows, "annotations": annotations, "categories": categories}
    atomic_write(out / "annotations.json", json.dumps(export) + "\n")
    return out / "annotations.json"


def photograph(seed: int, part: int, view: int, size: int, *, defective: bool) -> Picture:
    """What camera `view` sees of part `part`; the same picture without its defects when not `defective`."""
    texture = np.random.default_rng([seed, part])
    whole = SURFACES[_line(part)](texture, size, size * len(CAMERAS))
    surface = litter(np.random.default_rng([seed, part, view, 0]), whole[:, view * size : (view + 1) * size])
    defects: list[tuple[str, Bools, float]] = []
    if defective:
        surface, defects = _damage(np.random.default_rng([seed, part, view, 1]), surface, _MIX[_line(part)])
    exposed = _expose(np.random.default_rng([seed, part, view, 2]), surface, _GRAIN[CAMERAS[view]])
    return Picture(pixels=exposed, defects=tuple(defects))


def _plan(images: int, seed: int) -> list[bool]:
    """Which pictures show defects: all but a third. Of the parts that do, some do in one picture only."""
    rng = np.random.default_rng([seed])
    free = images // 3
    parts = rng.permutation((images + 1) // 2)
    singles, pairs = parts[: free % 2 + 2 * (free // 8)], parts[free % 2 + 2 * (free // 8) :]
    defective = np.ones(len(parts) * 2, np.bool_)
    defective[singles * 2 + rng.integers(0, 2, len(singles))] = False
    defective[(pairs[: (free - len(singles)) // 2] * 2 + np.array([[0], [1]])).reshape(-1)] = False
    return [bool(flag) for flag in defective[:images]]


def _damage(
    rng: np.random.Generator, surface: Floats, mix: Mapping[str, float]
) -> tuple[Floats, list[tuple[str, Bools, float]]]:
    """The surface with 1 to _MOST defects, none touching another."""
    from scipy import ndimage

    taken = np.zeros(surface.shape[:2], np.bool_)
    defects: list[tuple[str, Bools, float]] = []
    wanted = min(1 + int(rng.poisson(1.7)), _MOST)
    while len(defects) < wanted:
        name = str(rng.choice(list(mix), p=list(mix.values())))
        strength = float(rng.uniform(0.33, 0.5) if rng.random() < 0.2 else rng.uniform(0.6, 1.0))  # noqa: PLR2004 - one in five is faint
        painted, mask = FLAWS[name](rng, surface, strength)
        if mask.sum() < _LEAST_AREA or (mask & taken).any():
            continue
        change = float(np.abs(painted - surface).mean(axis=2)[mask].mean())
        around = ndimage.binary_dilation(mask, iterations=4) & ~mask
        defects.append((name, mask, change / max(float(surface[around].mean(axis=1).std()), 1.0)))
        taken |= ndimage.binary_dilation(mask, iterations=3)
        surface = painted
    return surface, defects


def _expose(rng: np.random.Generator, surface: Floats, grain: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the surface under uneven light, with the camera's noise."""
    height, width = surface.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 + rng.uniform(-0.12, 0.12) * x + rng.uniform(-0.12, 0.12) * y - rng.uniform(0, 0.1) * (x**2 + y**2)
    light *= rng.uniform(0.9, 1.1)
    read_out = grain * noise(rng, height, width, 0.35, 0.35)[:, :, None]
    exposed: NDArray[np.uint8] = np.clip(np.rint(surface * light[:, :, None] + read_out), 0, 255).astype(np.uint8)
    return exposed


def _outline(mask: Bools) -> dict[str, Any]:
    coded = geometry.from_mask(mask)
    x0, y0, x1, y1 = (int(edge) for edge in geometry.region_box(coded))
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(mask.sum()),
        "segmentation": {"size": [coded.height, coded.width], "counts": coded.counts.decode("ascii")},
    }


def _line(part: int) -> str:
    return tuple(SURFACES)[part % len(SURFACES)]


def _check(out: Path, images: int, size: int) -> None:
    faults: list[Fault] = []
    if images < 1:
        faults.append(Fault(where="images", expected="at least 1", found=str(images)))
    if size < SMALLEST:
        faults.append(Fault(where="size", expected=f"at least {SMALLEST} px", found=str(size)))
    present = out / "annotations.json"
    if present.exists() and _MADE_BY not in present.read_text(errors="replace")[:1000]:
        faults.append(
            Fault(
                where=str(out), expected="a new folder or an older demo", found="another dataset", fix="Name another."
            )
        )
    if faults:
        raise DatasetError(*faults)
