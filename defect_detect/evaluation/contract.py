"""The comparability contract: detectors that were not measured alike don't stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from defect_detect.errors import Fault, NotComparable
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.job import Manifest

_ALIKE: tuple[tuple[str, Callable[[Manifest], object]], ...] = (
    ("dataset fingerprint", lambda m: m.dataset_fingerprint),
    ("image list", lambda m: m.images_sha256),
    ("categories", lambda m: tuple(m.categories)),
    ("score floor", lambda m: m.score_floor),
    ("cap on detections", lambda m: m.max_detections),
    ("decode policy", lambda m: m.decode_policy),
    ("tiling", lambda m: m.tiling),
)


def check(contenders: Sequence[Contender], *, allow: bool = False) -> list[str]:
    """The differences in how the contenders were measured, in words; empty where there are none.

    >>> from defect_detect.evaluation import example
    >>> check([example.contender("a"), example.contender("b")])
    []

    Raises:
        NotComparable: there are some, and `allow` is not set; or they were held against different truths,
            which nothing allows, since a defect must be there for both to compare who missed it.
    """
    if truths := _truths(contenders):
        raise NotComparable(
            *(Fault(where=what, expected="the same for all", found=found, fix=_APART) for what, found in truths)
        )
    differences = [
        *_manifests(contenders),
        *_weights(contenders),
        *_own_splits(contenders),
        *_seen_to_differ(contenders),
    ]
    if differences and not allow:
        raise NotComparable(
            *(
                Fault(where=what, expected="the same for all detectors", found=found, fix=_FIX)
                for what, found in differences
            )
        )
    return [f"{what} differs: {found}" for what, found in differences]


_APART = "Only detectors judged on the same defects can be compared."
_FIX = "Make the predictions again with the same settings, or pass --allow to compare them all the same."


_OF_ONE_MODEL: tuple[tuple[str, Callable[[Manifest], object]], ...] = (
    ("model", lambda m: (m.framework, m.model, m.checkpoint_sha256)),
    ("score floor", lambda m: m.score_floor),
    ("cap on detections", lambda m: m.max_detections),
    ("decode policy", lambda m: m.decode_policy),
    ("tiling", lambda m: m.tiling),
    ("NMS", lambda m: m.nms_iou),
    ("input size", lambda m: m.input_size),
)
"""What validation and test of one trained model have in common, or its threshold is another model's."""


def _own_splits(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    found = []
    for name, run in _runs(contenders):
        if run.manifest is None or run.validation_manifest is None:
            continue
        for what, value_of in _OF_ONE_MODEL:
            test, validation = value_of(run.manifest), value_of(run.validation_manifest)
            if test != validation:
                told = f"{_short(validation)} on validation, {_short(test)} on test"
                found.append((f"{what} of {name}, seed {run.seed}", told))
    return found


def _seen_to_differ(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    """Files without a manifest that can't have been made with the floor or the cap of those with one."""
    known = [run.manifest for _, run in _runs(contenders) if run.manifest is not None]
    if not known:
        return []
    floor, cap = max(one.score_floor for one in known), min(one.max_detections for one in known)
    found = []
    for contender in contenders:
        lowest, most = _extremes(contender)
        if all(run.manifest is not None for run in contender.runs):
            continue
        plain = f"{contender.name}, which has no manifest"
        if lowest < floor:
            found.append(("score floor", f"{floor:g} for others, and a score of {lowest:.3g} in {plain}"))
        if most > cap:
            found.append(("cap on detections", f"{cap} for others, and {most} predictions in an image in {plain}"))
    return found


def _extremes(contender: Contender) -> tuple[float, int]:
    """The lowest score of all runs on test, and the most predictions in an image; inf and 0 without any."""
    said = [run.test.predictions for run in contender.runs if len(run.test.predictions)]
    lowest = min((float(one.score.min()) for one in said), default=np.inf)
    return lowest, max((int(np.bincount(one.image).max()) for one in said), default=0)


def unchecked(contenders: Sequence[Contender]) -> dict[str, str]:
    """For each contender whose files say nothing of how they were made: what can be seen of it."""
    return {
        contender.name: _seen(contender)
        for contender in contenders
        if any(run.manifest is None for run in contender.runs)
    }


def _seen(contender: Contender) -> str:
    lowest, most = _extremes(contender)
    if not most:
        return "no manifest and no predictions: how it was measured can't be checked"
    silent = max(len(run.test.truth.images) - len(np.unique(run.test.predictions.image)) for run in contender.runs)
    images = len(contender.runs[0].test.truth.images)
    return (
        f"no manifest: how it was measured can't be checked; lowest score {lowest:.3g}, "
        f"at most {most} predictions in an image, none in {silent:,} of {images:,} images"
    )


def _runs(contenders: Sequence[Contender]) -> list[tuple[str, Run]]:
    return [(contender.name, run) for contender in contenders for run in contender.runs]


def _truths(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    found = []
    for split in ("test", "validation"):
        values: dict[object, list[str]] = {}
        for name, run in _runs(contenders):
            evaluation = run.test if split == "test" else run.validation
            if evaluation is not None:
                truth = evaluation.truth
                values.setdefault((truth.fingerprint, truth.images.file), []).append(name)
        if len(values) > 1:
            groups = "; ".join(", ".join(_once(names)) for names in values.values())
            found.append((f"{split} images and ground truth", f"{len(values)} different ones ({groups})"))
    return found


def _manifests(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    known = [(name, run.manifest) for name, run in _runs(contenders) if run.manifest is not None]
    found = []
    for what, value_of in _ALIKE:
        values: dict[object, list[str]] = {}
        for name, manifest in known:
            values.setdefault(value_of(manifest), []).append(name)
        if len(values) > 1:
            groups = "; ".join(f"{_short(value)} for {', '.join(_once(names))}" for value, names in values.items())
            found.append((what, groups))
    return found


def _weights(contenders: Sequence[Contender]) -> list[tuple[str, str]]:
    # A baseline has no weights to start from: it may stand beside either kind.
    start: dict[bool, list[str]] = {}
    for name, run in _runs(contenders):
        if run.manifest is not None and run.manifest.family != "baseline":
            start.setdefault(run.manifest.initial_weights != "none", []).append(name)
    if len(start) < 2:  # noqa: PLR2004 - both kinds
        return []
    text = f"pretrained for {', '.join(_once(start[True]))}; from scratch for {', '.join(_once(start[False]))}"
    return [("initial weights", text)]


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    limit = 60
    return text if len(text) <= limit else f"{text[:limit]}..."
