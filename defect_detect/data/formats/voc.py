"""Pascal VOC: one XML file a picture, corners counted from 1, the last column and row included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from defect_detect.data.formats import pictures, xml
from defect_detect.data.formats.found import Found, Shape, Size

NAME = "voc"
_FLAGS = ("pose", "truncated", "difficult", "occluded")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def recognise(path: Path) -> bool:
    """Whether `path` is a folder whose first XML file, there or in Annotations/, is VOC's."""
    first = next(_files(path), None) if path.is_dir() else None
    return first is not None and xml.root_tag(first) == "annotation"


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, no class order, and the folder that the pictures' names are relative to.

    Raises:
        DatasetError: a file that is no XML of VOC's.
    """
    trees = [(file, xml.parse(file, "annotation")) for file in _files(path)]
    # Counted from 1, no corner is 0: where one is, the tool that wrote the file counted from 0, as many do.
    from_zero = any(value == 0 for _, tree in trees for box in tree.iter("bndbox") for value in _corners(box)[:2])
    splits = _splits(path)
    there: dict[str, list[str]] = {}
    for name in pictures.below(path):
        there.setdefault(PurePosixPath(name).stem, []).append(name)
    found = [_found(path, file, tree, splits, there, first=0 if from_zero else 1) for file, tree in trees]
    listed = {each.file for each in found}
    for stem, names in there.items():
        if stem in splits:
            found += [Found(file=name, shapes=(), split=splits[stem]) for name in names if name not in listed]
    return found, [], path


def _files(path: Path) -> Iterator[Path]:
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    return iter(sorted(file for file in folder.rglob("*.xml") if not file.name.startswith(".")))


def _splits(path: Path) -> dict[str, str]:
    """Picture stem -> split, by ImageSets/Main, where it has all three."""
    lists = {split: path / "ImageSets" / "Main" / f"{split}.txt" for split in ("train", "val", "test")}
    if not all(file.is_file() for file in lists.values()):
        return {}
    found = {}
    for split, file in lists.items():
        for line in file.read_text("utf-8").splitlines():
            if line.strip():
                found[line.split()[0]] = split
    return found


def _found(
    root: Path, file: Path, tree: Element, splits: dict[str, str], there: dict[str, list[str]], *, first: int
) -> Found:
    where = file.relative_to(root).as_posix()
    said = (tree.findtext("filename") or "").strip()
    candidates = there.get(PurePosixPath(said.replace("\\", "/")).stem) or there.get(file.stem) or []
    same = [name for name in candidates if PurePosixPath(name).name == said]
    name = (same or candidates or [said or f"{file.stem}.jpg"])[0]
    shapes = [_shape(f"{where}: object[{at}]", each, first) for at, each in enumerate(tree.findall("object"))]
    return Found(file=name, shapes=shapes, split=splits.get(file.stem, ""), size=_size(tree))


def _size(tree: Element) -> Size | None:
    width, height = (xml.number(tree.findtext(f"size/{side}")) for side in ("width", "height"))
    return (int(width), int(height)) if width and height else None


def _shape(where: str, each: Element, first: int) -> Shape:
    box = each.find("bndbox")
    category = (each.findtext("name") or "").strip()
    flags = {flag: text for flag in _FLAGS if (text := (each.findtext(flag) or "").strip()) not in ("", "Unspecified")}
    if box is None:
        return Shape(where=where, category=category, attributes=flags)
    x0, y0, x1, y1 = _corners(box)
    return Shape(
        where=where, category=category, box=[x0 - first, y0 - first, x1 - x0 + first, y1 - y0 + first], attributes=flags
    )


def _corners(box: Element) -> Sequence[float]:
    """The four corners; NaN, which no rule accepts, where one is missing."""
    found = [xml.number(box.findtext(side)) for side in _CORNERS]
    return [float("nan") if value is None else value for value in found]
