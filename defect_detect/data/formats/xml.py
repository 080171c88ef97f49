"""XML of other people: no entities, bounded size, and errors that name the place.

expat fetches nothing from outside; since 2.4.1 it also stops entities that blow up. Documents that declare
entities are refused all the same: no annotation tool writes any.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from defect_detect.errors import DatasetError, Fault

MOST_BYTES = 2_000_000_000


def parse(path: Path, tag: str) -> Element:
    """The document's root, which must be `tag`.

    Raises:
        DatasetError: it isn't, or the file is no XML.
    """
    if path.stat().st_size > MOST_BYTES:
        raise DatasetError(Fault(where=str(path), expected=f"at most {MOST_BYTES:,} bytes", found="more",
                                 fix="Split it into several files."))  # fmt: skip
    raw = path.read_bytes()
    if b"<!ENTITY" in raw:
        raise DatasetError(Fault(where=str(path), expected="XML without entities", found="<!ENTITY",
                                 fix="No annotation tool writes any: where is it from?"))  # fmt: skip
    try:
        root = ET.fromstring(raw)  # noqa: S314 - entities are refused above
    except ET.ParseError as error:
        raise DatasetError(
            Fault(where=str(path), expected="XML", found=str(error), fix="Mend it there, or export it again.")
        ) from None
    if root.tag != tag:
        raise DatasetError(Fault(where=str(path), expected=f"<{tag}>", found=f"<{root.tag}>",
                                 fix="Say what it is with --format."))  # fmt: skip
    return root


def root_tag(path: Path) -> str:
    """The tag of the root, `` where the file's beginning is no XML."""
    parser: ET.XMLPullParser[Element] = ET.XMLPullParser(["start"])
    try:
        with path.open("rb") as file:
            parser.feed(file.read(65536))
        return next((element.tag for _, element in parser.read_events()), "")  # type: ignore[union-attr, misc]
    except (ET.ParseError, OSError):
        return ""


def number(text: str | None) -> float | None:
    """The finite number that the text is, else None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
