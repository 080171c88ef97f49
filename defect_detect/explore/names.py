"""What things are called inside FiftyOne: datasets, and the fields and evaluation keys of detectors.

A comparison's dataset is found again by its folder. Every run of a detector gets one *key*: the name
of its predictions field, of its evaluation, and the stem of what the ground truth carries about it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "defect_detect"
PLUGIN = "@defect_detect/missed_defects"
"""The plugin's name, which all of its operators' addresses begin with."""
METHOD = "defect_detect.explore.method.MissEvaluationConfig"
"""The class behind `method="defect_detect"`, as FiftyOne's evaluation config names it."""
TRUTH = "ground_truth"
ALARMED = "alarmed_by_all"

ON_SAMPLE = ("", "_below", "_tp", "_fp", "_fn", "_alarmed")
"""What a key is extended by on pictures."""
ON_DEFECT = ("", "_id", "_iou", "_reason", "_found_at", "_candidate_id", "_candidate_score", "_candidate_iou")
"""... and on ground truth objects."""

_TAKEN = frozenset(
    [
        *("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type"),
        *("group", "image_id", "source_id", "defect_free", "defects", "frame_id", "frame_number"),
        *("label", "bounding_box", "mask", "mask_path", "confidence", "index", "instance", "rotation", "attributes"),
        *("iscrowd", "ignore", "severity", "size", "area", "annotation_id"),
        *("missed_by", "missed_by_count", "fate", "outcome", "hit_of"),
        *("sample_id", "crowd", "type", "iou"),  # what evaluation patches add
    ]
) | {TRUTH, ALARMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One run of a detector, as FiftyOne knows it."""

    detector: str
    seed: int
    key: str
    title: str
    """As people read it: the detector, with the seed from its second run on."""

    @property
    def below(self) -> str:
        """The field of predictions under the threshold."""
        return f"{self.key}_below"


def keys(runs: Sequence[tuple[str, int]]) -> tuple[Key, ...]:
    """One key for each (detector, seed), in the same order; the first seed of a detector has its plain name.

    Keys are valid variable names, as FiftyOne demands of evaluations, and no field derived from one
    is another's.
    """
    taken = set(_TAKEN)
    stems: dict[str, str] = {}
    result = []
    for detector, seed in runs:
        first = detector not in stems
        wanted = identifier(detector) if first else f"{stems[detector]}_seed{seed}"
        key = _free(wanted, (*ON_SAMPLE, *ON_DEFECT), taken)
        stems.setdefault(detector, key)
        result.append(
            Key(detector=detector, seed=seed, key=key, title=detector if first else f"{detector} seed {seed}")
        )
    return tuple(result)


def columns(names: Iterable[str], runs: Sequence[Key]) -> dict[str, str]:
    """The user's own columns -> field names that are free."""
    taken = set(_TAKEN) | {run.key + end for run in runs for end in (*ON_SAMPLE, *ON_DEFECT)}
    return {name: _free(identifier(name), ("",), taken) for name in names}


def identifier(text: str) -> str:
    """The text as a variable name of ASCII letters, digits and underscores."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")
    return name if name and not name[0].isdigit() else f"d_{name}".rstrip("_")


def dataset_name(folder: Path, number: int = 1) -> str:
    """The name of the dataset of the comparison in `folder`; from `number` 2 on, when others took it."""
    place = str(folder.resolve())
    mark = hashlib.sha256(place.encode()).hexdigest()[:8]
    stem = re.sub(r"[^0-9A-Za-z._-]+", "-", folder.resolve().name)[:60] or "comparison"
    # No slash: the App sends an address with one back to its start page.
    return f"{NAMESPACE}.{stem}-{mark}" + (f"-{number}" if number > 1 else "")


def _free(wanted: str, ends: Sequence[str], taken: set[str]) -> str:
    name, number = wanted, 1
    while any(name + end in taken for end in ends):
        number += 1
        name = f"{wanted}_{number}"
    taken.update(name + end for end in ends)
    return name
