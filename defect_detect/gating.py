"""`--fail-if` and `--baseline`: what the conditions say of a finished comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defect_detect import folder
from defect_detect.data import coco
from defect_detect.errors import ConfigError, Fault, NotComparable, did_you_mean
from defect_detect.evaluation import baseline, contract, gate
from defect_detect.evaluation.compare import drawn
from defect_detect.evaluation.comparison import Comparison, Figures, Slice
from defect_detect.evaluation.entrant import Draws, Entrant, enter
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.gate import Condition, Regression, Told
from defect_detect.evaluation.judged import Contender, Run, Standing
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.sliced import sliced
from defect_detect.evaluation.units import units
from defect_detect.tables import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The conditions, and the folder of the comparison that regressions are measured against."""

    conditions: Sequence[Condition | Regression]
    baseline: Path | None = None


def parse(texts: Sequence[str], against: Path | None, detectors: Sequence[str]) -> Gate:
    """The conditions of the command line, checked against the names of the detectors.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    conditions = gate.parse(texts)
    faults: list[Fault | str] = [
        Fault(where=f"--fail-if {one.text!r}", expected=" | ".join(detectors), found=repr(one.detector),
              fix=did_you_mean(one.detector, detectors))
        for one in conditions
        if one.detector is not None and one.detector not in detectors
    ]  # fmt: skip
    asked = any(isinstance(one, Regression) for one in conditions)
    if asked and against is None:
        faults.append(Fault(where="--fail-if", expected="a baseline to be worse than", found="none",
                            fix="Give --baseline and the folder of an earlier comparison."))  # fmt: skip
    if against is not None and not asked:
        faults.append(Fault(where="--baseline", expected="a condition that asks for it", found="none",
                            fix="Add --fail-if 'worse than baseline, p < 0.05'."))  # fmt: skip
    if against is not None and not (against / "comparison.json").is_file():
        faults.append(Fault(where="--baseline", expected="the folder of a finished comparison", found=str(against)))
    if faults:
        raise ConfigError(*faults)
    return Gate(conditions=conditions, baseline=against)


def ready(asked: Gate, root: Path) -> None:
    """Refuse a baseline on another test split than that of the dataset at `root`, before hours are spent.

    Raises:
        InputError: the baseline isn't a comparison.
        NotComparable: it was judged on other data.
    """
    if asked.baseline is not None:
        _same_data(coco.load(root, "test").fingerprint, folder.read(asked.baseline)[1], asked.baseline)


def check(asked: Gate, request: folder.Request, comparison: Comparison, contenders: Sequence[Contender]) -> list[Told]:
    """What came of each condition. `contenders` as they were judged: on reviewed labels where there are some.

    Raises:
        ConfigError: a condition names a part that there is not, or a policy that can't be followed.
        InputError: the baseline isn't a comparison.
        NotComparable: the baseline was judged on other data, or otherwise.
    """
    own = parse_policy(request.policy, request.costs, request.prevalence).text
    at = {own: {d.name: (d.test, d.slices) for d in comparison.detectors}}
    told: list[Told] = []
    for one in asked.conditions:
        if isinstance(one, Condition):
            policy = one.policy or own
            if policy not in at:
                at[policy] = _at(policy, request, contenders)
            told += gate.decide(one, comparison.detectors, at[policy])
        elif asked.baseline is not None:
            told += _against(one, asked.baseline, request, comparison, contenders)
    return told


def _at(
    policy: str, request: folder.Request, contenders: Sequence[Contender]
) -> dict[str, tuple[Figures, list[Slice]]]:  # fmt: skip
    """Figures and parts at another policy than the run's, by detector."""
    chosen = parse_policy(policy, request.costs, request.prevalence)
    if chosen.kind != "score":
        chosen = parse_policy(policy, request.costs, request.prevalence, per_class=request.per_class)
        if any(run.validation is None for contender in contenders for run in contender.runs):
            raise ConfigError(Fault(where=f"--fail-if at {policy}", found="predictions on test only",
                                    expected="predictions on val, on which thresholds are chosen"))  # fmt: skip
    draws = drawn(contenders, request.seed, request.resamples)
    entrants = [enter(contender, chosen, draws) for contender in contenders]
    return {one.name: (figures(one), sliced(one, draws, request.sizes)) for one in entrants}


def _against(
    condition: Regression,
    earlier: Path,
    request: folder.Request,
    comparison: Comparison,
    contenders: Sequence[Contender],
) -> list[Told]:
    asked, then = folder.read(earlier)
    names = _paired(condition, [one.name for one in contenders], [one.name for one in then.detectors], earlier)
    _same_data(comparison.dataset.fingerprints["test"], then, earlier)
    _alike(comparison, then, earlier)
    ours = {one.name: one for one in contenders if one.name in names}
    moved = _moved(folder.contenders(earlier, asked), contenders[0].runs[0].test.truth, request)
    theirs = {one.contender.name: _renamed(one) for one in folder.standings(moved, then)}
    # Validation may be another one: each threshold was chosen on its own.
    contract.check([*ours.values(), *(_on_test(theirs[name].contender) for name in names.values())],
                   allow=request.allow)  # fmt: skip
    draws = drawn(contenders, request.seed, request.resamples)
    now = {name: enter(one, request.operating, draws) for name, one in ours.items()}
    pairs = [(now[name], _as_then(theirs[other], now[name], asked, draws)) for name, other in names.items()]
    figure = "fppi" if request.operating.kind == "recall" else "fn_rate"
    return baseline.worse(condition, pairs, figure=figure, seed=request.seed)


def _as_then(standing: Standing, beside: Entrant, asked: folder.Request, draws: Draws) -> Entrant:
    """The baseline's detector at its thresholds; its validation units are drawn alike where they are the same."""
    before, now = standing.contender.runs[0].validation, beside.contender.runs[0].validation
    if before is None:
        draws = replace(draws, validation=None)
    elif now is None or not _same_split(before.truth, now.truth):
        weights = draw(np.random.default_rng([draws.seed, 2]), len(units(before.truth)), len(draws.test))
        draws = replace(draws, validation=weights)
    return enter(standing.contender, asked.operating, draws, used=standing.threshold)


def _same_split(one: Dataset, other: Dataset) -> bool:
    return one.fingerprint == other.fingerprint and one.images.file == other.images.file


def _paired(condition: Regression, ours: Sequence[str], theirs: Sequence[str], earlier: Path) -> dict[str, str]:
    """Our name -> the baseline's: the one that was given, the same, or the only one on both sides."""
    asked = [name for name in ours if condition.detector in (None, name)]
    if condition.other is None and len(ours) == len(theirs) == 1:
        return {ours[0]: theirs[0]}
    names = {name: condition.other or name for name in asked}
    faults = [
        Fault(where=f"--baseline {earlier}", expected=" | ".join(theirs), found=repr(other),
              fix=f"Say which one {name} is held against: --fail-if '{name}: worse than baseline NAME, p < 0.05'.")
        for name, other in names.items()
        if other not in theirs
    ]  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    return names


def _alike(comparison: Comparison, then: Comparison, earlier: Path) -> None:
    """Refuse thresholds that were chosen by other rules."""
    ours, theirs = comparison.protocol, then.protocol
    rules = [("policy", "policy"), ("IoU", "iou"), ("geometry", "geometry")]
    if ours.policy.startswith("cost"):
        rules.append(("costs", "costs"))
    faults = [
        Fault(where=f"--baseline {earlier}: {what}", expected=str(getattr(ours, name)),
              found=str(getattr(theirs, name)), fix="Judge both in the same way.")
        for what, name in rules
        if getattr(ours, name) != getattr(theirs, name)
    ]  # fmt: skip
    if faults:
        raise NotComparable(*faults)


def _same_data(ours: str, then: Comparison, earlier: Path) -> None:
    """Refuse a baseline on another test split than the one of this fingerprint, which no review changes."""
    theirs = then.dataset.fingerprints.get("test", "")
    if ours != theirs:
        raise NotComparable(
            Fault(where=f"--baseline {earlier}", expected=f"the same test split ({ours[:12]})",
                  found=f"another one ({theirs[:12]}): other pictures, labels or units",
                  fix="Misses of other defects can't be paired: judge the baseline's predictions on this dataset.")
        )  # fmt: skip


def _moved(found: Sequence[Contender], truth: Dataset, request: folder.Request) -> tuple[Contender, ...]:
    """The baseline's test predictions held against this comparison's truth, picture by picture."""
    place = {name: row for row, name in enumerate(truth.images.file)}

    def moved(run: Run) -> Run:
        said, names = run.test.predictions, run.test.truth.images.file
        row = np.array([place[name] for name in names], np.int64)
        return replace(run, test=evaluate(truth, replace(said, image=row[said.image]), request.rule))

    return tuple(replace(one, runs=tuple(moved(run) for run in one.runs)) for one in found)


def _on_test(contender: Contender) -> Contender:
    return replace(contender, runs=tuple(replace(run, validation=None) for run in contender.runs))


def _renamed(standing: Standing) -> Standing:
    name = f"{standing.contender.name} of the baseline"
    return replace(standing, contender=replace(standing.contender, name=name))
