"""Normalize every COCO-like file of a folder of messy exports, and say in one table what became of each.

    python benchmarks/messy.py DATA/messy                     the table, to look at
    python benchmarks/messy.py DATA/messy --write docs/normalization.md

The table is put between the marks <!-- messy --> and <!-- /messy --> of the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from defect_detect.data.normalize import normalize
from defect_detect.data.repairs import Repair
from defect_detect.errors import DatasetError, Fault

BEGIN, END = "<!-- messy -->", "<!-- /messy -->"
LONGEST = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file; the counts are texts, `-` where it was refused."""

    file: str
    given: str
    kept: str
    repaired: str
    dropped: str
    refused: list[str]
    rules: Counter[tuple[str, str]]

    @property
    def said(self) -> str:
        """Everything the report names, as one text."""
        return "\n".join([*self.refused, *(what for _, what in self.rules)])


def files(folder: Path) -> Iterator[Path]:
    """Every JSON file of the folder, hidden ones too."""
    yield from sorted(path for path in folder.rglob("*") if path.suffix == ".json" and path.is_file())


def outcome(path: Path, folder: Path, out: Path) -> Outcome:
    """Normalize one file into the folder `out`; paths in what is said are relative to `folder`."""
    name = path.relative_to(folder).as_posix()
    repairs: tuple[Repair, ...] = ()
    try:
        made = normalize(path, images=None, out=out)
    except DatasetError as error:
        repairs = getattr(error, "repairs", ())
        refused = [relative(fault, folder) for fault in error.faults if isinstance(fault, Fault)]
        return Outcome(
            file=name, given=listed(path), kept="-", repaired="-", dropped="-", refused=refused, rules=rules(repairs)
        )
    images, defects = made.content.images, made.content.annotations
    pair = "{} / {}".format
    return Outcome(
        file=name, given=pair(images.given, defects.given), kept=pair(images.kept, defects.kept),
        repaired=pair(images.repaired, defects.repaired),
        dropped=pair(images.merged + images.quarantined, defects.merged + defects.quarantined),
        refused=[], rules=rules(made.repairs),
    )  # fmt: skip


def rules(repairs: tuple[Repair, ...]) -> Counter[tuple[str, str]]:
    """How often each rule spoke, by action and rule."""
    return Counter((repair.action, repair.what) for repair in repairs)


def relative(fault: Fault, folder: Path) -> str:
    return str(fault).replace(f"{folder}/", "")


def listed(path: Path) -> str:
    """Images and annotations that a refused file lists, if it can be read."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        return f"{len(content['images'])} / {len(content['annotations'])}"
    except (ValueError, KeyError, TypeError):
        return "?"


def table(outcomes: list[Outcome]) -> str:
    """Markdown: a row a file, images / annotations."""
    lines = [
        "| file | in | kept | of these repaired | dropped | what was found, how often; refused: with which message |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in outcomes:
        said = [f"**refused** {short(text)}" for text in each.refused[:3]]
        if len(each.refused) > 3:
            said.append(f"and {len(each.refused) - 3} refusals more")
        said += [f"{action}: {short(what)} ({times})" for (action, what), times in sorted(each.rules.items())]
        cells = [each.file, each.given, each.kept, each.repaired, each.dropped, "; ".join(said) or "nothing"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of messy files")
    parser.add_argument("--write", type=Path, help="the document to put the table into")
    arguments = parser.parse_args()
    folder = arguments.data.absolute()
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = [outcome(path, folder, Path(scratch) / str(at)) for at, path in enumerate(files(folder))]
    text = table(outcomes)
    if arguments.write is None:
        print(text)
        return 0
    before, _, rest = arguments.write.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    arguments.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
