"""Writes what is kept into a folder, and counts: nothing may have been lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from defect_detect.data import accounts, coco
from defect_detect.data.asked import Options
from defect_detect.data.assemble import Made, origin
from defect_detect.data.categories import Classes
from defect_detect.data.files import atomic_write, replacing
from defect_detect.data.pixels import DECODE_POLICY
from defect_detect.data.records import SCHEMA, DatasetFile, SplitSummary
from defect_detect.data.repairs import Log
from defect_detect.data.taken import Intake
from defect_detect.tables import Dataset


def publish(
    part: Path, taken: Intake, made: Sequence[Made], *, classes: Classes, options: Options, log: Log,
    sha256: Mapping[str, str], name: str, stamp: str,
) -> DatasetFile:  # fmt: skip
    """Write everything but the pictures into the folder `part`, `dataset.json` last.

    `sha256` of each picture by its name; `stamp` names the input.
    """
    written = [coco.write(replace(each.data, root=part), origin(each, taken, sha256)) for each in made]
    content = _describe(taken, written, classes, options, log, name=name, stamp=stamp)
    with replacing(part / "repairs.jsonl") as file:
        for lines in log.repairs.lines():
            file.write(lines)
    atomic_write(part / "dataset.json", msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    return content


def _describe(
    taken: Intake, written: Sequence[Dataset], classes: Classes, options: Options, log: Log, *, name: str, stamp: str
) -> DatasetFile:
    """The summary, its counts taken from what was written and balanced against what came in."""
    out = Counter((accounts.table_of(repair), repair.split) for repair in log.repairs if repair.action == "quarantined")
    images, annotations = accounts.balance(taken, written, log.repairs)
    return DatasetFile(
        schema=SCHEMA,
        source=name,
        input=stamp,
        decode_policy=DECODE_POLICY,
        scale=options.scale,
        unit=options.unit,
        severity={c.name: c.severity for c in classes.listed if c.severity is not None},
        categories=[category.name for category in classes.listed],
        regions=all(data.has_masks for data in written),
        images=images,
        annotations=annotations,
        splits={
            data.split: SplitSummary(
                fingerprint=data.fingerprint,
                images=len(data.images),
                defect_free=int(data.defect_free.sum()),
                defects=len(data.defects),
                quarantined_images=out["images", data.split],
                quarantined_defects=out["annotations", data.split],
            )
            for data in written
        },
    )
