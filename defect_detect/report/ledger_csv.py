"""The ledger as CSV: every defect and detector in a row, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from defect_detect.evaluation.ledger import Row

# A cell that starts with one of these is run as a formula by common spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def text(rows: Sequence[msgspec.Struct]) -> str:
    """Header and rows; what was not measured is an empty cell."""
    columns = (rows[0] if rows else Row).__struct_fields__
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(getattr(row, name)) for name in columns] for row in rows)
    return buffer.getvalue()


def cell(value: Any) -> str:
    """One cell. Text that a spreadsheet would run gets an apostrophe in front; numbers stay numbers."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case float():
            return f"{value:.6g}" if math.isfinite(value) else ""
        case str():
            found = value
        case _:
            found = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return f"'{found}" if found.startswith(_FORMULA) else found
