"""What the user asked for beside the files, and whether the input has it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from defect_detect.data.categories import Classes
from defect_detect.data.listing import Listing
from defect_detect.data.records import SEVERITIES
from defect_detect.data.repairs import Log
from defect_detect.data.similar import BITS


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for, as `normalize` describes it."""

    group: str | None
    pattern: str | None = None
    """The first group (else all) of what it matches in a file name names the sampling unit."""
    alike: int | None = None
    """Bits in which the sketches of two pictures of one part may differ; None: not looked at."""
    fold: tuple[int, int] | None = None
    """This one of so many folds is test."""
    scale: float | None
    unit: str
    severity: dict[str, str]
    accept_below: dict[str, float]
    seed: int


def check(options: Options, log: Log) -> None:
    """Refuse values that make no sense whatever the input is."""
    if options.group is not None and options.pattern is not None:
        both = f"both {options.group!r} and {options.pattern!r}"
        log.refused("--group", expected="a field, or --group-pattern", found=both, fix="Leave one out.")
    try:
        re.compile(options.pattern or "")
    except re.error as error:
        log.refused("--group-pattern", expected="a regular expression", found=f"{options.pattern!r}: {error}")
        log.check()
    if options.alike is not None and not 0 <= options.alike < BITS // 4:
        log.refused("--group-similar", expected=f"bits from 0 to {BITS // 4 - 1}", found=str(options.alike))
    if options.scale is not None and not 0 < options.scale < math.inf:
        log.refused("--scale", expected="px per unit, more than 0", found=str(options.scale))
    for name, value in options.severity.items():
        if value not in SEVERITIES:
            log.refused(f"--severity of {name}", expected=" | ".join(SEVERITIES), found=repr(value))
    for name, limit in options.accept_below.items():
        if not 0 < limit < math.inf:
            log.refused(f"--accept-below of {name}", expected="a length of more than 0", found=str(limit))


def check_against(listings: Sequence[Listing], classes: Classes, root: Path, options: Options, log: Log) -> None:
    """Refuse an input without pictures, and options that name what it doesn't have."""
    entries = [entry for listing in listings for entry in listing.entries]
    if not entries:
        missing = sum(len(listing.missing) for listing in listings)
        found = f"none ({missing} of the listed files are missing)" if missing else "none"
        log.refused("images", expected=f"pictures below {root}", found=found, fix="Name their folder with --images.")
    if options.group is not None and entries and all(entry.group is None for entry in entries):
        have = sorted({name for entry in entries for name in entry.attributes})
        log.refused("--group", expected=f"a field of the image entries ({', '.join(have) or 'none'})",
                    found=repr(options.group))  # fmt: skip
    names = {category.name for category in classes.listed}
    for name in sorted(set(options.accept_below) - names):
        log.refused("--accept-below", expected=" | ".join(sorted(names)), found=repr(name))


def regroup(listings: Sequence[Listing], options: Options, log: Log) -> None:
    """Put the sampling unit that the pattern finds in its file name in place of each entry's own."""
    if options.pattern is None:
        return
    said, unlike = re.compile(options.pattern), []
    for listing in listings:
        for entries in (listing.entries, listing.missing):
            for at, entry in enumerate(entries):
                found = said.search(entry.name)
                # A group that took no part in the match is no name either.
                name = found and (found[1] if said.groups else found[0])
                if name:
                    entries[at] = msgspec.structs.replace(entry, group=name)
                else:
                    unlike.append(entry.name)
    if unlike:
        log.refused("--group-pattern", expected=f"a match of {options.pattern!r} in every file name",
                    found=f"none in {len(unlike)}: {', '.join(unlike[:5])}")  # fmt: skip
