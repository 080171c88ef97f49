"""Makes a dataset of what people export: repaired where the answer is unique, refused where it isn't.

README.md beside this file lists what the result promises.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from defect_detect.data import coco, paths, pictures
from defect_detect.data import source as sources_
from defect_detect.data.assemble import datasets, place
from defect_detect.data.categories import Classes
from defect_detect.data.categories import collect as collect_classes
from defect_detect.data.files import atomic_write, sync_folder
from defect_detect.data.intake import Intake, take
from defect_detect.data.listing import Listing, collect
from defect_detect.data.pictures import Progress
from defect_detect.data.pixels import DECODE_POLICY
from defect_detect.data.records import SCHEMA, DatasetFile, SplitSummary, Tally
from defect_detect.data.repairs import Log, Repair
from defect_detect.data.source import Source
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Dataset

SEVERITIES = ("critical", "major", "minor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalized:
    """A normalized dataset on disk, and what it took.

    root     its folder
    content  its `dataset.json`: counts in, kept, repaired, quarantined; fingerprints by split
    repairs  every deviation of the input
    reused   it was there already, made from the same input
    """

    root: Path
    content: DatasetFile
    repairs: tuple[Repair, ...]
    reused: bool = False


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    group: str | None
    scale: float | None
    unit: str
    severity: dict[str, str]
    accept_below: dict[str, float]
    seed: int


def normalize(
    source: Path,
    *,
    images: Path | None,
    out: Path,
    group: str | None = None,
    scale: float | None = None,
    unit: str = "px",
    severity: Mapping[str, str] | None = None,
    accept_below: Mapping[str, float] | None = None,
    seed: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Normalized:
    """Write `source` (one COCO file, or a folder of train, val and test.json) as a normalized dataset to `out`.

    images        folder of the pictures; None: `images` beside the source, or where most names are found
    group         field of the image entries that names the sampling unit (default: `group`)
    scale, unit   px per unit, and the unit's name
    severity      critical | major | minor by class name
    accept_below  by class name, in `unit` (px without a scale): defects whose box's longer side is
                  below are `ignore`
    seed          of the split of one file
    strict        refuse what would be repaired or quarantined

    `out` exists afterwards complete or not at all.

    Raises:
        DatasetError: the input can't be used (all faults at once), or `out` holds something else.
        OSError: `out` can't be written.
    """
    log = Log()
    options = _Options(
        group=group, scale=scale, unit=unit, severity=dict(severity or {}), accept_below=dict(accept_below or {}),
        seed=seed,
    )  # fmt: skip
    _check_options(options, log)
    if out.exists() and out.resolve() == source.resolve() and coco.is_normalized(out):
        return _existing(out)
    given = sources_.files(source)
    sources = [each for split, path in given if (each := sources_.read(split, path, log)) is not None]
    if len(sources) < len(given):
        log.check()
    root = _picture_root(source, sources, images)
    listings = [collect(index, each, root, group, log) for index, each in enumerate(sources)]
    classes = collect_classes(sources, options.severity, log)
    _check_listed(listings, classes, root, options, log)
    log.check()
    names = sorted({entry.name for listing in listings for entry in listing.entries})
    stamp = _stamp(sources, names, pictures.hashes(root, names), options)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return _reuse(out, stamp, log, strict=strict)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        found = dict(zip(names, pictures.bring(root, names, part / coco.PICTURES, progress), strict=True))
        taken = take(sources, listings, found, classes, log)
        log.check()
        content = _write(part, taken, classes, options, log, strict=strict, name=source.name, stamp=stamp)
        part.chmod(0o777 & ~_umask())
        if out.exists():
            out.rmdir()  # empty, as checked above
        part.rename(out)
        sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Normalized(root=out, content=content, repairs=tuple(log.repairs))


def _write(
    part: Path, taken: Intake, classes: Classes, options: _Options, log: Log, *, strict: bool, name: str, stamp: str
) -> DatasetFile:
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
    taken: Intake, written: list[Dataset], classes: Classes, options: _Options, log: Log, *, name: str, stamp: str
) -> DatasetFile:
    """The summary, its counts taken from what was written and checked against what came in."""
    out = [repair for repair in log.repairs if repair.action == "quarantined"]
    out_images = [repair for repair in out if ": images[" in repair.where]
    out_defects = [repair for repair in out if ": annotations[" in repair.where]
    changed = {_item(repair) for repair in log.repairs if repair.action == "repaired"}
    images = Tally(
        given=taken.given_images,
        kept=sum(len(data.images) for data in written),
        repaired=sum(_place_of(taken.images[image][0].where) in changed for image in taken.kept),
        quarantined=len(out_images),
    )
    annotations = Tally(
        given=taken.given_annotations,
        kept=sum(len(data.defects) for data in written),
        repaired=sum(_place_of(made.where) in changed for made in taken.drafts),
        quarantined=len(out_defects),
    )
    for tally in (images, annotations):
        if tally.given != tally.kept + tally.quarantined:
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


def _check_options(options: _Options, log: Log) -> None:
    if options.scale is not None and not 0 < options.scale < float("inf"):
        log.refused("scale", expected="px per unit, more than 0", found=str(options.scale))
    for name, value in options.severity.items():
        if value not in SEVERITIES:
            log.refused(f"severity of {name}", expected=" | ".join(SEVERITIES), found=repr(value))
    for name, limit in options.accept_below.items():
        if not 0 < limit < float("inf"):
            log.refused(f"accept_below of {name}", expected="a length of more than 0", found=str(limit))


def _picture_root(source: Path, sources: list[Source], images: Path | None) -> Path:
    if images is not None:
        if not images.is_dir():
            raise DatasetError(Fault(where=str(images), expected="the folder of the pictures", found="no folder"))
        return images
    beside = source if source.is_dir() else source.parent
    names = [
        entry["file_name"]
        for each in sources
        for entry in each.data["images"]
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    ]
    return paths.picture_folder([beside / "images", beside, beside.parent / "images"], names)


def _check_listed(listings: list[Listing], classes: Classes, root: Path, options: _Options, log: Log) -> None:
    entries = [entry for listing in listings for entry in listing.entries]
    if not entries and not log.faults:
        missing = sum(why == "picture missing" for listing in listings for why in listing.lost.values())
        log.refused(
            "images", expected=f"pictures below {root}", found=f"none ({missing} of the listed files are missing)",
            fix="Name their folder with --images.",
        )  # fmt: skip
    if options.group is not None and entries and all(entry.group is None for entry in entries):
        have = sorted({name for entry in entries for name in entry.attributes})
        log.refused("group", expected=f"a field of the image entries ({', '.join(have) or 'none'})",
                    found=repr(options.group))  # fmt: skip
    names = {category.name for category in classes.listed}
    for name in sorted(set(options.accept_below) - names):
        log.refused("accept_below", expected=" | ".join(sorted(names)), found=repr(name))


def _stamp(sources: list[Source], names: list[str], hashes: list[str], options: _Options) -> str:
    """SHA-256 over everything the result depends on."""
    parts = {
        "schema": SCHEMA,
        "policy": DECODE_POLICY,
        "files": [(each.split, each.name, each.sha256) for each in sources],
        "pictures": list(zip(names, hashes, strict=True)),
        "options": options,
    }
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _reuse(out: Path, stamp: str, log: Log, *, strict: bool) -> Normalized:
    if not coco.is_normalized(out):
        raise DatasetError(
            Fault(where=str(out), expected="an empty or new folder", found="files that are not ours",
                  fix="Nothing there was touched. Choose another --out.")
        )  # fmt: skip
    there = _existing(out)
    if there.content.input != stamp:
        raise DatasetError(
            Fault(where=str(out), expected="an empty folder, or the dataset made from this input",
                  found=f"a dataset made from another input or with other options ({there.content.source})",
                  fix="Choose another --out, or remove it.")
        )  # fmt: skip
    Log(repairs=list(there.repairs), faults=log.faults).check(strict=strict)
    return there


def _existing(out: Path) -> Normalized:
    content = coco.describe(out)
    try:
        lines = (out / "repairs.jsonl").read_bytes().splitlines()
        repairs = tuple(msgspec.json.decode(line, type=Repair) for line in lines)
    except (OSError, msgspec.DecodeError) as error:
        raise DatasetError(Fault(where=str(out / "repairs.jsonl"), expected="our own file", found=str(error))) from None
    return Normalized(root=out, content=content, repairs=repairs, reused=True)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
