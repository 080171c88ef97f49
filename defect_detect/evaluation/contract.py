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

    Raises:
        NotComparable: there are some, and `allow` is not set; or they were held against different truths,
            which nothing allows, since a defect must be there for both to compare who missed it.
    """
    if truths := _truths(contenders):
        raise NotComparable(
            *(Fault(where=what, expected="the same for all", found=found, fix=_APART) for what, found in truths)
        )
    differences = [*_manifests(contenders), *_weights(contenders)]
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


def unchecked(contenders: Sequence[Contender]) -> dict[str, str]:
    """For each contender whose files say nothing of how they were made: what can be seen of it."""
    return {
        contender.name: _seen(contender)
        for contender in contenders
        if any(run.manifest is None for run in contender.runs)
    }


def _seen(contender: Contender) -> str:
    said = [run.test.predictions for run in contender.runs]
    scores = np.concatenate([one.score for one in said])
    if len(scores) == 0:
        return "no manifest and no predictions: how it was measured can't be checked"
    most = max(int(np.bincount(one.image).max()) for one in said if len(one))
    return (
        f"no manifest: how it was measured can't be checked; lowest score {scores.min():.3g}, "
        f"at most {most} predictions in an image"
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
