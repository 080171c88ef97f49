"""Makes a dataset of what people export: repaired where the answer is unique, refused where it isn't.

README.md beside this file lists what the result promises.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from defect_detect.data import asked, coco, formats, pictures, similar, tiling
from defect_detect.data import source as sources_
from defect_detect.data.asked import Options
from defect_detect.data.assemble import assemble
from defect_detect.data.categories import collect as collect_classes
from defect_detect.data.decoding import Facts
from defect_detect.data.files import sync_folder, umask
from defect_detect.data.intake import take
from defect_detect.data.listing import collect, refuse_twins
from defect_detect.data.lookup import Folder, picture_folder
from defect_detect.data.packed_list import PackedList
from defect_detect.data.pictures import Progress
from defect_detect.data.pixels import DECODE_POLICY
from defect_detect.data.publish import publish
from defect_detect.data.records import SCHEMA, SEVERITIES, DatasetFile
from defect_detect.data.remarks import file_names, note_reused_ids, remark
from defect_detect.data.repairs import Log, Repair
from defect_detect.data.source import Source
from defect_detect.data.stand_ins import absurd, stand_ins
from defect_detect.data.taken import Intake
from defect_detect.errors import DatasetError, Fault

__all__ = ["SEVERITIES", "Normalized", "normalize"]


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
    repairs: Sequence[Repair]
    reused: bool = False


def normalize(
    source: Path,
    *,
    images: Path | None,
    out: Path,
    form: str = "auto",
    group: str | None = None,
    pattern: str | None = None,
    alike: int | None = None,
    fold: tuple[int, int] | None = None,
    scale: float | None = None,
    unit: str = "px",
    severity: Mapping[str, str] | None = None,
    accept_below: Mapping[str, float] | None = None,
    seed: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Normalized:
    """Write `source` (one COCO file, a folder of train, val and test.json, or another format) normalized to `out`.

    images        folder of the pictures; None: `images` beside the source, or where most names are found
    form          one of formats.NAMES
    group         field of the image entries that names the sampling unit (default: `group`)
    pattern       instead: a regular expression whose first group (else all of it) in the file name is the unit
    alike         pictures whose sketches differ in at most so many bits stay in one split; None: not looked at
    fold          of one file: this one of so many folds is test, the next val
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
    options = Options(
        group=group, pattern=pattern, alike=alike, fold=fold, scale=scale, unit=unit, severity=dict(severity or {}),
        accept_below=dict(accept_below or {}), seed=seed,
    )  # fmt: skip
    asked.check(options, log)
    if out.exists() and out.resolve() == source.resolve() and coco.is_normalized(out):
        return _existing(out)
    sources, root = _read(source, form, images, log)
    folder = Folder(root)
    listings = [collect(index, each, folder, group, log) for index, each in enumerate(sources)]
    asked.regroup(listings, options, log)
    refuse_twins(listings, log)
    classes = collect_classes(sources, options.severity, log)
    for each in sources:
        remark(each, log)
    note_reused_ids(sources, log)
    for entry in absurd(entry for listing in listings for entry in (*listing.entries, *listing.missing)):
        log.noted(entry.where, "declared size that no picture can have", entry.declared)
    asked.check_against(listings, classes, root, options, log)
    names = sorted({entry.name for listing in listings for entry in listing.entries})
    facts = pictures.examine(root, names, progress)
    measured = pictures.measured(names, facts)
    if log.faults:
        # Refused it is; what else is wrong shall be known now, not after the next try.
        take(sources, listings, measured | stand_ins(sources, listings), classes, log)
        log.check(strict=strict)
    stamp = _stamp(sources, names, facts, options)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return _reuse(out, stamp, log, strict=strict)
    taken = take(sources, listings, measured, classes, log)
    taken.alike = _alike(taken, alike)
    made = assemble(taken, classes, options, name=source.name, log=log)
    log.check(strict=strict)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        kept = sorted(taken.images.entries[image].name for image in taken.kept)
        known = dict(zip(names, facts, strict=True))
        sha256 = pictures.bring(root, {name: (known[name], measured[name]) for name in kept}, part / coco.PICTURES)
        content = publish(
            part, taken, made, classes=classes, options=options, log=log, sha256=sha256, name=source.name, stamp=stamp
        )
        part.chmod(0o777 & ~umask())
        if out.exists():
            out.rmdir()  # empty, as checked above
        part.rename(out)
        sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Normalized(root=out, content=content, repairs=log.repairs)


def _read(source: Path, form: str, images: Path | None, log: Log) -> tuple[list[Source], Path]:
    """The files of the input as COCO, and the folder of the pictures."""
    if source.is_dir():
        tiling.refuse_tiles(source)
    importer = formats.recognise(source, form)
    if importer is not None:
        sources, beside = formats.read(importer, source)
        return sources, beside if images is None else _picture_root(source, sources, images, log)
    given = sources_.files(source)
    sources = [each for split, path in given if (each := sources_.read(split, path, log)) is not None]
    if not sources:
        log.check()
    return sources, _picture_root(source, sources, images, log)


def _alike(taken: Intake, limit: int | None) -> list[str] | None:
    """Of each image, the first file among those that look like it; None without a limit."""
    if limit is None:
        return None
    pictures_ = [picture for _, picture in taken.images]
    group = similar.groups([picture.sketch for picture in pictures_], limit=limit).tolist()
    first: dict[int, str] = {}
    for number, picture in sorted(zip(group, pictures_, strict=True), key=lambda pair: pair[1].file):
        first.setdefault(number, picture.file)
    return [first[number] for number in group]


def _picture_root(source: Path, sources: list[Source], images: Path | None, log: Log) -> Path:
    if images is not None:
        if not images.is_dir():
            raise DatasetError(Fault(where=str(images), expected="the folder of the pictures", found="no folder",
                                     fix="Give --images DIR."))  # fmt: skip
        return images
    beside = source if source.is_dir() else source.parent
    names = [name for each in sources for name in file_names(each)]
    found = picture_folder(beside, names)
    if found != beside and not all(each.own for each in sources):
        where = os.path.relpath(found, beside)
        log.noted("images", "pictures lie in another folder than the file", where)
    return found


def _stamp(sources: list[Source], names: list[str], facts: list[Facts], options: Options) -> str:
    """SHA-256 over everything the result depends on."""
    parts = {
        "schema": SCHEMA,
        "policy": DECODE_POLICY,
        "files": [(each.split, each.name, each.sha256) for each in sources],
        "pictures": [(name, each.sha256) for name, each in zip(names, facts, strict=True)],
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
    Log(repairs=PackedList(Repair, there.repairs), faults=log.faults).check(strict=strict)
    return there


def _existing(out: Path) -> Normalized:
    content = coco.describe(out)
    try:
        with (out / "repairs.jsonl").open("rb") as lines:
            repairs = PackedList(Repair, (msgspec.json.decode(line, type=Repair) for line in lines))
    except (OSError, msgspec.DecodeError) as error:
        raise DatasetError(Fault(where=str(out / "repairs.jsonl"), expected="our own file", found=str(error))) from None
    return Normalized(root=out, content=content, repairs=repairs, reused=True)
