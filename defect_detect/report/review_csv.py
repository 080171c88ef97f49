"""A review as a table for spreadsheets: the same entries, and the same checks, as in the JSON lines of docs/review.md.

What the header says stands in every row, so that rows may be sorted, filtered and left out.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from defect_detect.errors import DatasetError, Fault, did_you_mean
from defect_detect.evaluation import review as reviews
from defect_detect.evaluation.review import Entry, Header, Review
from defect_detect.report import ledger_csv
from defect_detect.report.review_row import COLUMNS, CORNERS, REQUIRED, TRUE_CORNERS, Row


def is_table(path: Path) -> bool:
    """Whether a file of this name is such a table."""
    return path.suffix.lower() == ".csv"


def read(path: Path) -> Review:
    """The review in a file: a table where its name ends in `.csv`, else JSON lines.

    Raises:
        DatasetError: no such file, or not a review; everything that is wrong with it.
    """
    if not is_table(path):
        return reviews.read(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(Fault(where=str(path), expected="a review file", found=error.strerror or "none")) from None
    return decode(content, path.name)


def encode(review: Review, path: Path) -> bytes:
    """The review as the name of its file asks for."""
    if not is_table(path):
        return reviews.encode(review)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    header, sample = review.header, review.header.sample
    of_all = {"review": header.review, "dataset": header.dataset, "split": header.split}
    if sample is not None:
        of_all |= {"sample_drawn": sample.drawn, "sample_of": sample.of, "sample_seed": sample.seed}
    # A row without a picture carries the header of a review that has no entries.
    for cells in [_cells(entry) for entry in review.entries] or [{}]:
        row = of_all | cells
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    # With the mark at its start spreadsheets read it as UTF-8.
    return buffer.getvalue().encode("utf-8-sig")


def _cells(entry: Entry) -> dict[str, Any]:
    cells: dict[str, Any] = {
        name: getattr(entry, name)
        for name in (
            "decision",
            "note",
            "image",
            "category",
            "detector",
            "seed",
            "score",
            "annotation",
            "true_category",
        )
    }
    cells["true_category"] = entry.true_category
    cells["sampled"] = "yes" if entry.sampled else None
    cells["missed_by"] = json.dumps(entry.missed_by, ensure_ascii=False) if entry.missed_by else None
    cells |= dict(zip(CORNERS, entry.box, strict=True))
    return cells | dict(zip(TRUE_CORNERS, entry.true_box or (None,) * 4, strict=True))


def _cell(value: Any) -> str:
    """Text that a spreadsheet would run, or that begins like one made harmless, gets an apostrophe in front."""
    if not isinstance(value, str):
        return "" if value is None else repr(value)
    return f"'{value}" if value.startswith("'") else ledger_csv.cell(value)


def decode(content: bytes, name: str) -> Review:
    """The review in a table; `name` is how messages call it. Commas, semicolons and tabs part cells.

    Raises:
        DatasetError: everything that is wrong with it.
    """
    columns, rows, faults = _parsed(content, name)
    headers: dict[Header, int] = {}
    entries = []
    for number, row in rows:
        cells = Row(where=f"{name}:{number}", cells=dict(zip(columns, row, strict=False)))
        header, entry = cells.header(), cells.entry()
        if cells.faults:
            faults += cells.faults
            continue
        if header is not None:
            headers.setdefault(header, number)
        entries += [entry] if entry is not None else []
    if len(headers) > 1:
        told = " and ".join(f"another in line {number}" for number in list(headers.values())[1:3])
        faults.append(
            Fault(where=name, expected=f"one review, that of line {next(iter(headers.values()))}", found=told)
        )
    if not headers and not faults:
        faults.append(Fault(where=name, expected="the rows of a review", found="none"))
    if faults:
        raise DatasetError(*faults)
    header = next(iter(headers))
    if header.review != reviews.VERSION:
        raise DatasetError(Fault(where=name, expected=f"version {reviews.VERSION}", found=str(header.review)))
    return Review(header=header, entries=entries)


def _parsed(content: bytes, name: str) -> tuple[list[str], list[tuple[int, list[str]]], list[Fault | str]]:
    """The names of the columns, the rows that hold something with their line, and what is wrong with either."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(
            Fault(where=name, expected="UTF-8", found=f"another encoding ({error.reason} at byte {error.start})",
                  fix="Save it as 'CSV UTF-8' in the spreadsheet.")
        ) from None  # fmt: skip
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError(Fault(where=f"{name}:{reader.line_num}", expected="a table", found=str(error))) from None
    columns = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    faults: list[Fault | str] = [
        Fault(where=f"{name}:1", expected="a column of a review", found=repr(one), fix=did_you_mean(one, COLUMNS))
        for one in columns
        if one and one not in COLUMNS
    ]
    missing = [one for one in REQUIRED if one not in columns]
    if missing:
        faults.append(Fault(where=f"{name}:1", expected=f"columns {', '.join(REQUIRED)}",
                            found=f"none named {', '.join(missing)}"))  # fmt: skip
    twice = {one for one in columns if one and columns.count(one) > 1}
    faults += [Fault(where=f"{name}:1", expected="each column once", found=repr(one)) for one in sorted(twice)]
    if faults:
        raise DatasetError(*faults)
    long = [number for number, row in rows[1:] if any(cell.strip() for cell in row[len(columns) :])]
    faults += [Fault(where=f"{name}:{n}", expected=f"{len(columns)} cells", found="more of them") for n in long]
    return columns, rows[1:], faults
