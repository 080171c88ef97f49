"""YOLO: `data.yaml`, and beside each picture's `images/` a `labels/` with one text file a picture.

A line is `class x y width height` (centre and size, as shares of the picture) or `class x1 y1 x2 y2 ...` (a polygon).
A picture without a label file, or with an empty one, is defect-free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from defect_detect.data import safe_yaml
from defect_detect.data.formats import pictures
from defect_detect.data.formats.found import Found, Shape, Size
from defect_detect.errors import DatasetError, Fault

NAME = "yolo"
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_BOX = 5
_MOST_CLASSES = 100_000


def recognise(path: Path) -> bool:
    """Whether `path` is a `data.yaml`, a folder with one, or a folder with `images/` and `labels/` of text files."""
    if path.is_file():
        return path.suffix in (".yaml", ".yml")
    return _description(path) is not None or (
        (path / "images").is_dir() and next((path / "labels").rglob("*.txt"), None) is not None
    )


def read(path: Path) -> tuple[list[Found], list[str], Path]:
    """The pictures, the class names, and the folder that the pictures' names are relative to.

    Raises:
        DatasetError: the description can't be read, or names folders that aren't there.
    """
    described = path if path.is_file() else _description(path)
    root = path.parent if path.is_file() else path
    content = _load(described) if described is not None else {}
    names = _names(content.get("names"), root, described)
    listed = list(_listed(content, root, described))
    size = pictures.sizes(root, [name for name, _ in listed])
    return [_found(root, name, split, size[name], names) for name, split in listed], names, root


def _description(folder: Path) -> Path | None:
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (folder / name).is_file():
            return folder / name
    return None


def _load(path: Path) -> Mapping[str, Any]:
    content = safe_yaml.read(path, error=DatasetError)
    if not isinstance(content, dict) or "names" not in content:
        raise DatasetError(Fault(where=str(path), expected="`names` of classes and folders of pictures", found="none",
                                 fix="Write them as ultralytics has them in data.yaml."))  # fmt: skip
    return content


def _names(names: Any, root: Path, described: Path | None) -> list[str]:
    if isinstance(names, dict) and all(isinstance(key, int) and 0 <= key < _MOST_CLASSES for key in names):
        return [str(names.get(at, at)) for at in range(max(names, default=-1) + 1)]
    if isinstance(names, list):
        return [str(name) for name in names]
    if described is not None:
        raise DatasetError(Fault(where=f"{described}: names", expected="a list, or numbers with names",
                                 found=repr(names)[:80], fix="Write names: [a, b, ...]."))  # fmt: skip
    for name in ("classes.txt", "labels/classes.txt", "obj.names"):
        if (root / name).is_file():
            return (root / name).read_text(encoding="utf-8-sig").split("\n")
    return []


def _listed(content: Mapping[str, Any], root: Path, described: Path | None) -> Iterator[tuple[str, str]]:
    """Each picture with its split. A key's folders are searched where people mean them, whatever `path` says."""
    if described is None:
        for name in pictures.below(root, "images"):
            yield name, _SPLITS.get(PurePosixPath(name).parts[1], "")
        return
    faults = []
    for key, split in _SPLITS.items():
        folders = content.get(key)
        for text in folders if isinstance(folders, list) else [folders]:
            if not text:
                continue
            folder = _folder(root, content.get("path"), str(text))
            if folder is None:
                faults.append(Fault(where=f"{described}: {key}", expected=f"a folder of pictures below {root}",
                                    found=repr(text), fix="Put data.yaml beside images/ and labels/."))  # fmt: skip
                continue
            for name in pictures.below(root, folder):
                yield name, split
    if faults:
        raise DatasetError(*faults)


def _folder(root: Path, base: Any, text: str) -> str | None:
    """`text` as a folder below `root`: as it stands, below `path:`, or its tail (Roboflow writes ../train/images)."""
    plain = PurePosixPath(text.replace("\\", "/"))
    tails = [PurePosixPath(*plain.parts[start:]) for start in range(len(plain.parts))]
    candidates = [PurePosixPath(str(base)) / plain] if base else []
    for candidate in [plain, *candidates, *tails]:
        there = (root / candidate).resolve()
        if there.is_dir() and there.is_relative_to(root.resolve()) and there != root.resolve():
            return there.relative_to(root.resolve()).as_posix()
    return None


def _found(root: Path, name: str, split: str, size: Size | None, names: Sequence[str]) -> Found:
    parts = list(PurePosixPath(name).parts)
    folder = max((at for at, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if folder is not None:
        parts[folder] = "labels"
    file = PurePosixPath(*parts).with_suffix(".txt")
    try:
        lines = (root / file).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError as error:
        raise DatasetError(
            Fault(
                where=str(root / file), expected="text", found=str(error), fix="Is it a label file? Save it as UTF-8."
            )
        ) from None
    # A picture that can't be read has no size; it is left out for that later, its labels with it.
    width, height = size or (1, 1)
    shapes = [
        _shape(f"{file}:{at}", line.split(), width, height, names) for at, line in enumerate(lines, 1) if line.strip()
    ]
    return Found(file=name, split=split, shapes=shapes)


def _shape(where: str, values: Sequence[str], width: int, height: int, names: Sequence[str]) -> Shape:
    try:
        number, shares = int(float(values[0])), [float(value) for value in values[1:]]
    except (ValueError, OverflowError):
        raise DatasetError(Fault(where=where, expected="a class number and shares of the picture",
                                 found=" ".join(values)[:80], fix="Mend the line.")) from None  # fmt: skip
    if number < 0 or (names and number >= len(names)) or number != float(values[0]):
        raise DatasetError(
            Fault(where=where, expected=f"a class from 0 to {len(names) - 1}", found=values[0],
                  fix="Complete `names` in data.yaml.")
        )  # fmt: skip
    category = names[number] if names else str(number)
    if len(values) == _BOX:
        x, y, w, h = shares
        return Shape(where=where, category=category,
                     box=[(x - w / 2) * width, (y - h / 2) * height, w * width, h * height])  # fmt: skip
    if len(values) < _BOX or len(shares) % 2:
        raise DatasetError(
            Fault(where=where, expected="4 values (a box) or pairs of values (a polygon) after the class",
                  found=f"{len(shares)} values",
                  fix="Six with a score at the end are predictions, not labels." if len(shares) == _BOX
                  else "Mend the line.")
        )  # fmt: skip
    ring = [value * (width, height)[at % 2] for at, value in enumerate(shares)]
    return Shape(where=where, category=category, region=[ring])
