"""Run folders, checkpoints and finished comparisons that somebody edited."""

# ruff: noqa: ARG005 - a row may put something else in the place of what it is given
from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bad_inputs.cases import Case, Place, coded, edited

Change = Callable[[Any], object]
SPLIT = "test"


def _copied(place: Place) -> tuple[Path, Path]:
    """A copy of the comparison, beside one of the dataset where it looks for it, and its training's run folder."""
    place.copy(place.sound.dataset, "dataset")
    out = place.copy(place.sound.comparison, "comparison")
    return out, next((out / "runs").iterdir())


def _run(name: str, file: str, change: Change, says: str, *, kind: str = "runs") -> Case:
    """A file of the training is spoilt, then it is asked to predict."""

    def given(place: Place) -> list[object]:
        _, home = _copied(place)
        edited(home / file, change)
        return ["predict", place.home / "in" / "dataset", home, "--split", "train"]

    return Case(kind=kind, name=name, given=given, outcome="refused", says=says)


def _set(**fields: Any) -> Change:
    return lambda content: content.update(fields)


def _inside(name: str, **fields: Any) -> Change:
    return lambda content: content[name].update(fields)


def _twice(content: Any) -> bytes:
    return coded(content).replace(b'"seed"', b'"seed": 9, "seed"', 1)


RUNS = (
    _run("job empty", "job.json", lambda c: b"", "job.json"),
    _run("job cut off", "job.json", lambda c: coded(c)[:-20], "job.json"),
    _run("job not UTF-8", "job.json", lambda c: coded(c).replace(b"classical", b"cl\xffssical"), "job.json"),
    _run("job with a key twice", "job.json", _twice, "twice"),
    _run("job of another kind", "job.json", _set(type="bake"), "job.json"),
    _run("job with an unknown field", "job.json", _set(speed=9), "speed"),
    _run("job without a seed", "job.json", lambda c: [c.pop("seed"), None][1], "seed"),
    _run("job of an unknown framework", "job.json", _set(framework="clasical"), "clasical"),
    _run("job of a private module", "job.json", _set(framework="_learned"), "_learned"),
    _run("job of a module elsewhere", "job.json", _set(framework="../../evil"), "evil"),
    _run("result empty", "result.json", lambda c: b"", "result.json"),
    _run("result of a failure", "result.json", lambda c: {"type": "failed", "kind": "failed", "message": "x"},
         "succeeded"),
    _run("result a list", "result.json", lambda c: [c], "result.json"),
    _run("result whose checkpoint leads out", "result.json", _inside("outcome", checkpoint="../../../etc/passwd"),
         "in the run folder"),
    _run("result whose checkpoint is a device", "result.json", _inside("outcome", checkpoint="/dev/zero"),
         "in the run folder"),
    _run("result whose checkpoint has a NUL", "result.json", _inside("outcome", checkpoint="a\0b"),
         "in the run folder"),
    _run("result with another hash", "result.json", _set(checkpoint_sha256="0" * 64), "checkpoint"),
)  # fmt: skip


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/nonexistent/marker"),))


CHECKPOINTS = (
    _run("empty", "checkpoint.json", lambda c: b"", "checkpoint", kind="checkpoints"),
    _run("cut off", "checkpoint.json", lambda c: coded(c)[:-9], "checkpoint", kind="checkpoints"),
    _run("a byte changed", "checkpoint.json", lambda c: coded(c) + b" ", "checkpoint", kind="checkpoints"),
    _run("a pickle with code", "checkpoint.json", lambda c: pickle.dumps(_Evil()), "checkpoint", kind="checkpoints"),
)


def _gone(place: Place) -> list[object]:
    _, home = _copied(place)
    (home / "checkpoint.json").unlink()
    return ["predict", place.home / "in" / "dataset", home, "--split", "train"]


def _no_run(place: Place) -> list[object]:
    place.copy(place.sound.dataset, "dataset")
    return ["predict", place.home / "in" / "dataset", place.home / "in" / "nothing"]


def _comparison(name: str, file: str, change: Change, says: str) -> Case:
    """A file of a finished comparison is spoilt, then it is to be looked at."""

    def given(place: Place) -> list[object]:
        out, _ = _copied(place)
        edited(out / file, change)
        return ["explore", out, "--headless"]

    return Case(kind="runs", name=f"comparison: {name}", given=given, outcome="refused", says=says)


def _points(change: Callable[[dict[str, Any]], object]) -> Change:
    return lambda content: change(content["detectors"][0]["operating_point"])


_VENDOR = "predictions/vendor/test/predictions.json"
COMPARISONS = (
    _comparison("request empty", "request.json", lambda c: b"", "comparison"),
    _comparison("request not UTF-8", "request.json", lambda c: coded(c) + b"\xff", "comparison"),
    _comparison("request with an unknown field", "request.json", _set(speed=1), "speed"),
    _comparison("request without a policy", "request.json", lambda c: c.pop("policy") and None, "policy"),
    _comparison("request of another policy", "request.json", _set(policy="best"), "policy"),
    _comparison("request whose detector leads out", "request.json", _set(trained={"../../x": [0]}), "../../x"),
    _comparison("request without seeds", "request.json", _set(trained={"classical": []}), "seeds"),
    _comparison("request of another seed", "request.json", _set(trained={"classical": [7]}), "classical-7"),
    _comparison("request without detectors", "request.json", _set(trained={}, foreign={}), "expected figures of"),
    _comparison("request of an IoU of 7", "request.json", _set(iou=7), "IoU"),
    _comparison("request of a dataset elsewhere", "request.json", _set(dataset="/none"), "/none"),
    _comparison("request of a dataset with a long name", "request.json", _set(dataset="d" * 5000), "normalized"),
    _comparison("request of val only", "request.json", _set(foreign={"vendor": ["val"]}), "splits"),
    _comparison("figures empty", "comparison.json", lambda c: b"", "comparison"),
    _comparison("figures cut off", "comparison.json", lambda c: coded(c)[:-99], "comparison"),
    _comparison("figures of another dataset", "comparison.json",
                lambda c: c["dataset"]["fingerprints"].update(test="0" * 64), "another one"),
    _comparison("figures without a detector", "comparison.json", lambda c: c["detectors"].pop() and None,
                 "figures of classical, vendor"),
    _comparison("figures without thresholds", "comparison.json", _points(lambda p: p.update(thresholds=[])),
         "thresholds"),
    _comparison("figures with a threshold of NaN", "comparison.json",
         _points(lambda p: p.update(thresholds=[float("nan")])),
                "comparison"),
    _comparison("figures by class of no class", "comparison.json", _points(lambda p: p.update(by_class=[{"x": 0.1}])),
                "threshold of each class"),
    _comparison("predictions of NaN", _VENDOR, lambda c: c[0].update(bbox=[float("nan")] * 4), "bbox"),
    _comparison("predictions cut off", _VENDOR, lambda c: coded(c)[:-9], "cut off"),
)  # fmt: skip


def _nowhere(place: Place) -> list[object]:
    return ["explore", place.home / "nothing", "--headless"]


def _baseline(name: str, change: Change, says: str) -> Case:
    def given(place: Place) -> list[object]:
        out, _ = _copied(place)
        edited(out / "comparison.json", change)
        said = place.sound.said
        return ["evaluate", place.sound.dataset, "--predictions", f"vendor:val={said['val']}",
             f"vendor:test={said['test']}",
                "--out", place.out, "--no-fiftyone", "--resamples", "20", "--baseline", out,
                "--fail-if", "worse than baseline, p < 0.05"]  # fmt: skip

    return Case(kind="runs", name=f"baseline: {name}", given=given, outcome="refused", says=says)


CASES = (
    *RUNS,
    *CHECKPOINTS,
    Case(kind="checkpoints", name="gone", given=_gone, outcome="refused", says="checkpoint"),
    Case(kind="runs", name="no such run", given=_no_run, outcome="refused", says="finished training"),
    *COMPARISONS,
    Case(kind="runs", name="comparison: no such folder", given=_nowhere, outcome="refused", says="finished comparison"),
    _baseline("cut off", lambda c: coded(c)[:-99], "comparison"),
    _baseline("of another dataset", lambda c: c["dataset"]["fingerprints"].update(test="0" * 64), "another one"),
    _baseline("without detectors", lambda c: c.update(detectors=[]), "figures of classical"),
)
