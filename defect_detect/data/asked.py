"""What the user asked for beside the files, and whether the input has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from defect_detect.data.categories import Classes
from defect_detect.data.listing import Listing
from defect_detect.data.repairs import Log

SEVERITIES = ("critical", "major", "minor")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for, as `normalize` describes it."""

    group: str | None
    scale: float | None
    unit: str
    severity: dict[str, str]
    accept_below: dict[str, float]
    seed: int


def check(options: Options, log: Log) -> None:
    """Refuse values that make no sense whatever the input is."""
    if options.scale is not None and not 0 < options.scale < math.inf:
        log.refused("scale", expected="px per unit, more than 0", found=str(options.scale))
    for name, value in options.severity.items():
        if value not in SEVERITIES:
            log.refused(f"severity of {name}", expected=" | ".join(SEVERITIES), found=repr(value))
    for name, limit in options.accept_below.items():
        if not 0 < limit < math.inf:
            log.refused(f"accept_below of {name}", expected="a length of more than 0", found=str(limit))


def check_against(listings: Sequence[Listing], classes: Classes, root: Path, options: Options, log: Log) -> None:
    """Refuse an input without pictures, and options that name what it doesn't have."""
    entries = [entry for listing in listings for entry in listing.entries]
    if not entries:
        missing = sum(len(listing.missing) for listing in listings)
        found = f"none ({missing} of the listed files are missing)" if missing else "none"
        log.refused("images", expected=f"pictures below {root}", found=found, fix="Name their folder with --images.")
    if options.group is not None and entries and all(entry.group is None for entry in entries):
        have = sorted({name for entry in entries for name in entry.attributes})
        log.refused("group", expected=f"a field of the image entries ({', '.join(have) or 'none'})",
                    found=repr(options.group))  # fmt: skip
    names = {category.name for category in classes.listed}
    for name in sorted(set(options.accept_below) - names):
        log.refused("accept_below", expected=" | ".join(sorted(names)), found=repr(name))
