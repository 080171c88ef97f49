"""Writes what is kept into a folder, and counts: nothing may have been lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from defect_detect.data import coco
from defect_detect.data.assemble import datasets, place
from defect_detect.data.categories import Classes
from defect_detect.data.files import atomic_write
from defect_detect.data.intake import Intake
from defect_detect.data.pixels import DECODE_POLICY
from defect_detect.data.records import SCHEMA, DatasetFile, SplitSummary, Tally
from defect_detect.data.repairs import Log, Repair
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Dataset


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for, as `normalize` describes it."""

    group: str | None
    scale: float | None
    unit: str
    severity: dict[str, str]
    accept_below: dict[str, float]
    seed: int


def publish(
    part: Path, taken: Intake, classes: Classes, options: Options, log: Log, *, strict: bool, name: str, stamp: str
) -> DatasetFile:
    """Split, check and write everything into the folder `part`, `dataset.json` last.

    Raises:
        DatasetError: nothing usable is left, splits leak or are empty; with `strict`, any deviation.
    """
    if not taken.kept or (taken.given_annotations and not taken.drafts):
        counts = Counter(repair.what for repair in log.repairs if repair.action == "quarantined")
        raise DatasetError(
            Fault(
                where=name, expected="images and defects that can be used", found="none left",
                fix="Left out: " + "; ".join(f"{what} ({count})" for what, count in counts.most_common(5)),
            )
        )  # fmt: skip
    split = place(taken, seed=options.seed, log=log)
    log.check()
    made = datasets(
        taken, split, classes, root=part, scale=options.scale, unit=options.unit, accept_below=options.accept_below,
        log=log,
    )  # fmt: skip
    for data, _ in made:
        if not len(data.images):
            log.refused(f"{data.split}.json", expected="at least one usable image", found="none")
        elif not data.defects.counts.any():
            log.noted(data.split, "no defects to find: nothing can be chosen or judged here", data.split)
    _locate(taken, split, log)
    log.check(strict=strict)
    (part / coco.PICTURES).mkdir(exist_ok=True)
    written = [coco.write(data, origin) for data, origin in made]
    _drop_unused(part, written)
    content = _describe(taken, written, classes, options, log, name=name, stamp=stamp)
    atomic_write(part / "repairs.jsonl", b"".join(msgspec.json.encode(repair) + b"\n" for repair in log.repairs))
    atomic_write(part / "dataset.json", msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    return content


def _describe(
    taken: Intake, written: list[Dataset], classes: Classes, options: Options, log: Log, *, name: str, stamp: str
) -> DatasetFile:
    """The summary, its counts taken from what was written and checked against what came in."""
    out = [repair for repair in log.repairs if repair.action == "quarantined"]
    out_images = [repair for repair in out if ": images[" in repair.where]
    out_defects = [repair for repair in out if ": annotations[" in repair.where]
    changed = {_item(repair) for repair in log.repairs if repair.action == "repaired"}
    merged = [repair for repair in log.repairs if repair.action == "merged"]
    images = Tally(
        given=taken.given_images,
        merged=sum(": images[" in repair.where for repair in merged),
        kept=sum(len(data.images) for data in written),
        repaired=sum(_place_of(taken.images[image][0].where) in changed for image in taken.kept),
        quarantined=len(out_images),
    )
    annotations = Tally(
        given=taken.given_annotations,
        merged=sum(": annotations[" in repair.where for repair in merged),
        kept=sum(len(data.defects) for data in written),
        repaired=sum(_place_of(made.where) in changed for made in taken.drafts),
        quarantined=len(out_defects),
    )
    for tally in (images, annotations):
        if tally.given != tally.kept + tally.merged + tally.quarantined:
            raise AssertionError(f"{tally} does not add up: this is a fault of defect_detect, please report it")
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
                quarantined_images=sum(repair.split == data.split for repair in out_images),
                quarantined_defects=sum(repair.split == data.split for repair in out_defects),
            )
            for data in written
        },
    )


def _place_of(where: str) -> str:
    return where.partition("]")[0]


def _item(repair: Repair) -> str:
    return _place_of(repair.where)


def _locate(taken: Intake, split: Mapping[int, str], log: Log) -> None:
    """Say of each quarantined annotation into which split its image went."""
    for record, image in taken.out:
        if image is not None and image in split:
            log.repairs[record] = msgspec.structs.replace(log.repairs[record], split=split[image])


def _drop_unused(part: Path, written: list[Dataset]) -> None:
    """Remove pictures of images that were left out after they had been brought."""
    used = {part / name for data in written for name in data.images.file}
    for path in (part / coco.PICTURES).rglob("*"):
        if path.is_file() and path not in used:
            path.unlink()
