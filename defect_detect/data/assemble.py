"""From what is kept to the three splits: sampling units, leaks, order, ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from defect_detect.data import coco
from defect_detect.data.asked import Options
from defect_detect.data.categories import Classes
from defect_detect.data.columns import columns
from defect_detect.data.ordering import by_content
from defect_detect.data.repairs import Log, Repair
from defect_detect.data.sound import Sound
from defect_detect.data.source import SPLITS
from defect_detect.data.split import Fold, assigned, content
from defect_detect.data.taken import Intake
from defect_detect.errors import DatasetError, Fault
from defect_detect.tables import Dataset, Defects, Images, Ints


def unit_of(taken: Intake, image: int) -> str:
    """The sampling unit of an image: its group, else those that look like it, else its file."""
    return _units(taken, [image])[0]


def _units(taken: Intake, images: Sequence[int]) -> list[str]:
    entries, pictures, alike = taken.images.entries, taken.images.pictures, taken.alike
    return [
        group
        if (group := entries[image].group) is not None
        else pictures[image].file
        if alike is None
        else alike[image]
        for image in images
    ]


def place(taken: Intake, options: Options, log: Log) -> dict[int, str]:
    """The split of each kept image; ready splits are checked for leaks, which are refused.

    Raises:
        DatasetError: one file with too few units to split.
    """
    ready = {image: taken.images.entries[image].split for image in taken.kept}
    if all(ready.values()):
        _check_leaks(taken, ready, log)
        return ready
    joined = _join_copies(taken, _units(taken, taken.kept))
    place_ = np.full(len(taken.images), -1)
    place_[taken.kept] = np.arange(len(taken.kept))
    names: dict[str, int] = {}
    unit = np.array([names.setdefault(each, len(names)) for each in joined], np.int64)
    sound = taken.sound
    image = place_[sound.image]
    rows = slice(None) if len(image) == 0 or image.min() >= 0 else np.flatnonzero(image >= 0)
    fold = None if options.fold is None else Fold(*options.fold)
    split = assigned(
        content(list(names), unit, image[rows], sound.label[rows], sound.area[rows]), seed=options.seed, fold=fold
    )
    return dict(zip(taken.kept, [split[each] for each in unit.tolist()], strict=True))


def _check_leaks(taken: Intake, split: Mapping[int, str], log: Log) -> None:
    for what in ("picture", "content", "group", "look"):
        value = _TRAITS[what]
        where: dict[str, dict[str, str]] = {}
        for image in taken.kept:
            where.setdefault(value(taken, image), {}).setdefault(split[image], taken.images[image][0].name)
        leaks = {each: files for each, files in where.items() if len(files) > 1}
        for files in list(leaks.values())[:20]:
            log.refused(
                " and ".join(f"{each}.json" for each in files), expected=f"no {what} in two splits",
                found=" and ".join(dict.fromkeys(files.values())),
                fix="What was trained on can't be tested on. Leave it in one split, or give one file to be split anew."
                + (" Another field can name the groups (--group)." if what == "group" else ""),
            )  # fmt: skip
        if leaks:
            if len(leaks) > 20:  # noqa: PLR2004 - as many as are listed
                log.refused("splits", expected=f"no {what} in two splits", found=f"{len(leaks)} in all",
                            fix="Give one file to be split anew.")  # fmt: skip
            return


_TRAITS: Mapping[str, Callable[[Intake, int], str]] = {
    "picture": lambda taken, image: taken.images[image][0].name,
    "content": lambda taken, image: taken.images[image][1].shown or taken.images[image][1].file,
    "group": unit_of,
    "look": lambda taken, image: taken.images[image][1].file if taken.alike is None else taken.alike[image],
}


def _join_copies(taken: Intake, units: list[str]) -> list[str]:
    """`units` of the kept images; those that share a picture, or look alike where that is asked for, under one name."""
    contents = {picture.shown or picture.file for picture in map(taken.images.pictures.__getitem__, taken.kept)}
    if taken.alike is None and len(contents) == len(taken.kept):
        return units
    parent: dict[str, str] = {}

    def root(unit: str) -> str:
        while parent.setdefault(unit, unit) != unit:
            unit = parent[unit]
        return unit

    first: dict[tuple[str, str], str] = {}
    for image, own in zip(taken.kept, units, strict=True):
        for what in ("content", "look"):
            unit = root(own)
            other = root(first.setdefault((what, _TRAITS[what](taken, image)), unit))
            low, high = sorted((unit, other))
            parent[high] = low
    return [root(unit) for unit in units]


@dataclass(frozen=True, slots=True)
class Made:
    """One split as a table, its root yet to be given; `images`: positions in the intake, in its order."""

    data: Dataset
    images: list[int]


def assemble(taken: Intake, classes: Classes, options: Options, *, name: str, log: Log) -> list[Made]:
    """The splits of what is kept; what can't be split, leaks or is empty is refused. Nothing after a refusal."""
    if log.faults:
        return []
    if not taken.kept or (taken.given_annotations and not len(taken.sound)):
        counts = Counter(repair.what for repair in log.repairs if repair.action == "quarantined")
        log.refused(
            name, expected="images and defects that can be used", found="none left",
            fix="Left out: " + "; ".join(f"{what} ({count})" for what, count in counts.most_common(5)) + ".",
        )  # fmt: skip
        return []
    try:
        split = place(taken, options, log)
    except DatasetError as error:
        log.faults.extend(fault for fault in error.faults if isinstance(fault, Fault))
        return []
    made = _datasets(taken, split, classes, options, log)
    for each in made:
        if not each.images:
            log.refused(f"{each.data.split}.json", expected="at least one usable image", found="none",
                        fix="Leave the split out, or mend its pictures.")  # fmt: skip
        elif not each.data.defects.counts.any():
            what = "no defects to find: nothing can be chosen or judged here"
            log.noted(each.data.split, what, each.data.split)
    _tell_splits(taken, split, log)
    return made


def _tell_splits(taken: Intake, split: Mapping[int, str], log: Log) -> None:
    """Write into the records of what was left out where it would have gone."""
    if not len(taken.out):
        return
    names = ("", *SPLITS)
    of_image = np.array([names.index(split.get(image, "")) for image in range(len(taken.images))] + [0], np.int8)
    of_record = np.zeros(len(log.repairs), np.int8)
    of_record[np.array(taken.out.record)] = of_image[np.array(taken.out.image)]

    def told(record: int, repair: Repair) -> Repair:
        known = of_record[record]
        return msgspec.structs.replace(repair, split=names[known]) if known else repair

    log.repairs.change(told)


def _datasets(
    taken: Intake, split: Mapping[int, str], classes: Classes, options: Options, log: Log
) -> list[Made]:  # fmt: skip
    """The splits as tables, ordered by path, ids from 1 through all of them."""
    regions = _regions(taken.sound, log)
    scale = options.scale or 1.0
    limit = np.array([options.accept_below.get(category.name, 0.0) for category in classes.listed]) * scale
    by_file = sorted(taken.kept, key=[picture.file for picture in taken.images.pictures].__getitem__)
    chosen = {name: [image for image in by_file if split[image] == name] for name in SPLITS}
    place_ = np.full(len(taken.images), -1)
    place_[[image for name in SPLITS for image in chosen[name]]] = np.arange(len(by_file))
    rows = by_content(taken.sound, place_, regions=regions)
    at = place_[taken.sound.image[rows]]
    result: list[Made] = []
    next_image, first = 0, 0
    for name in SPLITS:
        end = first + int(np.searchsorted(at[first:], next_image + len(chosen[name])))
        sound = taken.sound.take(rows[first:end])
        data = Dataset(
            root=Path(), split=name, categories=classes.listed, images=_images(taken, chosen[name], next_image + 1),
            defects=_defects(sound, at[first:end] - next_image, first + 1, limit, regions=regions),
            scale=options.scale, unit=options.unit,
        )  # fmt: skip
        result.append(Made(data, chosen[name]))
        next_image, first = next_image + len(chosen[name]), end
    return result


def origin(made: Made, taken: Intake, sha256: Mapping[str, str]) -> coco.Origin:
    """Where the split's pictures come from; `sha256` of each as it stands in the dataset, by name."""
    entries = [taken.images.entries[image] for image in made.images]
    return coco.Origin(
        sha256=[sha256[entry.name] for entry in entries],
        source_split=[entry.source_split for entry in entries],
        source_file=[entry.source_file for entry in entries],
    )


def _images(taken: Intake, chosen: Sequence[int], first: int) -> Images:
    entries = [taken.images.entries[image] for image in chosen]
    pictures = [taken.images.pictures[image] for image in chosen]
    return Images(
        file=tuple([f"{coco.PICTURES}/{picture.file}" for picture in pictures]),
        id=np.arange(first, first + len(chosen), dtype=np.int64),
        size=np.array([[each.width for each in pictures], [each.height for each in pictures]], np.int64).T.copy(),
        group=np.array(_units(taken, chosen), np.str_),
        source_id=tuple([entry.source_id for entry in entries]),
        attribute=columns([entry.attributes for entry in entries]),
    )


def _defects(rows: Sound, image: Ints, first: int, limit: np.ndarray, *, regions: bool) -> Defects:
    longer = np.max(rows.box[:, 2:] - rows.box[:, :2], axis=1, initial=0)
    small = longer < (limit[rows.label] if len(rows) else 0)
    return Defects(
        image=image,
        label=rows.label,
        box=rows.box,
        area=rows.area,
        crowd=rows.crowd,
        ignore=rows.ignore | small,
        region=tuple([region for region in rows.region if region is not None]) if regions else None,
        id=np.arange(first, first + len(rows), dtype=np.int64),
        # One that had no id is called by ours: its place in the source would change with the source's order.
        source_id=tuple([f"#{first + at}" if id_ is None else id_ for at, id_ in enumerate(rows.ids)]),
        attribute=columns(rows.attributes),
    )


def _regions(sound: Sound, log: Log) -> bool:
    """Whether every defect has a region; if only some have, none counts."""
    lacks = np.flatnonzero(~sound.region.there).tolist()
    have = len(sound) - len(lacks)
    if have and lacks:
        log.repaired(
            f"{sound.where(lacks[0])}.segmentation", "regions for some defects only: the dataset becomes boxes only",
            f"{have} of {len(sound)} with a region", 0,
        )  # fmt: skip
    return have > 0 and not lacks
