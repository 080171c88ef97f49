"""The comparison: contenders in, figures, tests and a verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from defect_detect.errors import ConfigError, DatasetError, Fault
from defect_detect.evaluation import adjudicate, agreement, contract, pod_sizes, verdict
from defect_detect.evaluation.attribute_agreement import attribute_agreement
from defect_detect.evaluation.average_precision import average_precision, mean_of
from defect_detect.evaluation.calibration import calibration
from defect_detect.evaluation.comparison import (
    AveragePrecision,
    Comparison,
    DatasetFacts,
    Detector,
    Figures,
    Protocol,
)
from defect_detect.evaluation.entrant import Draws, Entrant, enter
from defect_detect.evaluation.expected_cost import expected_cost
from defect_detect.evaluation.figures import figures, operating_point, tally_of
from defect_detect.evaluation.froc_figures import DrawnFroc, drawn_froc, froc_figures
from defect_detect.evaluation.judged import Contender, Judged, Rule
from defect_detect.evaluation.localization import localization_slices, placed, summed_up
from defect_detect.evaluation.lrp import lrp
from defect_detect.evaluation.measured import measured
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.pairs import pairs
from defect_detect.evaluation.pod import pods
from defect_detect.evaluation.rank_stability import rank_misses, rank_stability
from defect_detect.evaluation.reasons import FALSE_ALARMS, REASONS
from defect_detect.evaluation.resampling import draw
from defect_detect.evaluation.review import Review
from defect_detect.evaluation.sliced import sliced
from defect_detect.evaluation.sweep import sweep
from defect_detect.evaluation.sweep_by_class import sweep_by_class
from defect_detect.evaluation.units import units
from defect_detect.evaluation.warn import warnings

RESAMPLES = 2000
WIDEST_BUDGET = 8.0


def compare(
    contenders: Sequence[Contender],
    *,
    policy: Policy,
    rule: Rule | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    facts: DatasetFacts,
    versions: Mapping[str, str],
    allow: bool = False,
    measure: str = "long side",
    link: str = "logit",
    review: Review | None = None,
    sizes: Sequence[float] = (),
) -> tuple[Comparison, tuple[Judged, ...]]:
    """Judge the contenders on test, each at the threshold that the policy chooses on validation.

    `measure` and `link` are of the probability of detection: what size is (`pod_sizes.MEASURES`), and `logit` or
    `probit`. With a `review` of the labels of test all figures are those on the corrected labels; `adjudication` has
    both. `sizes` are the edges of the size bins, ascending, in the dataset's unit; none: COCO's bins of area.

    >>> from defect_detect.evaluation import example
    >>> from defect_detect.evaluation.operating import parse_policy
    >>> told, judged = compare(
    ...     [example.contender("a"), example.contender("b", silent=True)],
    ...     policy=parse_policy("fppi<=0.25"), resamples=200, facts=example.facts(), versions={},
    ... )
    >>> [(one.name, one.test.fn_rate.rate.count, one.test.fn_rate.rate.of) for one in told.detectors]
    [('a', 1, 3), ('b', 3, 3)]
    >>> told.pairs[0].outcome
    'indistinguishable'

    Raises:
        ConfigError: a policy that needs validation, and a contender without predictions on it; a size measure that
            the dataset hasn't.
        DatasetError: test has no defect that counts, or the review doesn't fit it.
        NotComparable: they were not measured alike, and `allow` is not set.
    """
    rule = rule or Rule()
    _check(contenders, policy, resamples)
    pod_sizes.check(measure, contenders[0].runs[0].test.truth)
    allowed = contract.check(contenders, allow=allow)
    draws = drawn(contenders, seed, resamples)
    before: list[Entrant] = []
    if review is not None:
        before = [enter(contender, policy, draws) for contender in contenders]
        contenders = adjudicate.reviewed(contenders, review)
        _check(contenders, policy, resamples)
    entrants = [enter(contender, policy, draws) for contender in contenders]
    adjudicated = None if review is None else adjudicate.adjudication(review, before, entrants)
    budget = _budget(policy, entrants)
    curves = {entrant.name: drawn_froc(entrant, draws, budget) for entrant in entrants}
    field = {entrant.name: entrant.judged for entrant in entrants}
    misses = rank_misses(entrants)
    detectors = [
        _detector(entrant, policy, draws, curves[entrant.name], measure=measure, link=link, sizes=sizes)
        for entrant in entrants
    ]
    by_name = {detector.name: detector for detector in detectors}
    found = [
        msgspec.structs.replace(pair, sentence=verdict.sentence(pair, by_name, policy))
        for pair in pairs(entrants, draws, curves, "fppi" if policy.kind == "recall" else "fn_rate")
    ]
    comparison = Comparison(
        verdict=verdict.verdict(detectors, found, policy, allowed, adjudicated),
        warnings=warnings(entrants, policy, allowed, misses),
        dataset=facts,
        protocol=Protocol(
            policy=policy.text, iou=rule.iou, class_aware=True, geometry=rule.geometry, per_class=policy.per_class,
            sizes=list(sizes), costs=_costs(policy), resamples=resamples, seed=seed, budget=budget,
            versions=dict(versions),
        ),
        detectors=detectors,
        pairs=found,
        agreement=agreement.agreement(field),
        rank_stability=rank_stability(misses),
        rank_misses=misses,
        adjudication=adjudicated,
        suspects=agreement.suspects(field),
    )  # fmt: skip
    return comparison, tuple(one for entrant in entrants for one in entrant.judged)


def _check(contenders: Sequence[Contender], policy: Policy, resamples: int) -> None:
    faults: list[Fault | str] = []
    if not contenders:
        raise ConfigError(Fault(where="detectors", expected="at least one", found="none"))
    if resamples < 1:
        faults.append(Fault(where="resamples", expected="at least 1", found=str(resamples)))
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        faults.append(Fault(where="detectors", expected="each under a name of its own", found=", ".join(names)))
    faults += [
        Fault(where=contender.name, expected=f"predictions on val, on which {policy.text} chooses the threshold",
              found="predictions on test only",
              fix=f"Give --predictions {contender.name}:val=FILE too, or fix the score with --policy score=0.5.")
        for contender in contenders
        if policy.kind != "score" and any(run.validation is None for run in contender.runs)
    ]  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    truth = contenders[0].runs[0].test.truth
    if not truth.defects.counts.any():
        raise DatasetError(
            Fault(where=f"the {truth.split} split", expected="at least one defect that counts", found="none",
                  fix="Without defects there is nothing to miss.")
        )  # fmt: skip


def drawn(contenders: Sequence[Contender], seed: int, resamples: int) -> Draws:
    """The resamples that all contenders are held against."""
    run = contenders[0].runs[0]
    test = draw(np.random.default_rng([seed, 0]), len(units(run.test.truth)), resamples)
    validation = None
    if run.validation is not None:
        validation = draw(np.random.default_rng([seed, 1]), len(units(run.validation.truth)), resamples)
    return Draws(seed=seed, test=test, validation=validation)


def _budget(policy: Policy, entrants: Sequence[Entrant]) -> float:
    """The FPPI at which budgets are matched: the policy's, else the highest among the detectors."""
    if policy.kind == "fppi" and policy.value > 0:
        return policy.value
    images = int(entrants[0].of[:, 5].sum())
    return float(np.clip(max(entrant.rate("fppi") for entrant in entrants), 1 / images, WIDEST_BUDGET))


def _detector(
    entrant: Entrant, policy: Policy, draws: Draws, curve: DrawnFroc, *, measure: str, link: str, sizes: Sequence[float]
) -> Detector:
    manifest = entrant.contender.runs[0].manifest
    seen = contract.unchecked([entrant.contender])
    truth = entrant.test[0].evaluation.truth
    masks = truth.has_masks and all(
        run.test.predictions.region is not None and (run.manifest is None or run.manifest.masks != "boxes")
        for run in entrant.contender.runs
    )
    told, hits = figures(entrant), placed(entrant.judged)
    return Detector(
        name=entrant.name,
        framework=manifest.framework if manifest else None,
        model=manifest.model if manifest else None,
        family=manifest.family if manifest else None,
        seeds=[run.seed for run in entrant.contender.runs],
        operating_point=operating_point(entrant, policy),
        test=told,
        froc=froc_figures(entrant, curve),
        box_ap=_ap(entrant, "box"),
        mask_ap=_ap(entrant, "mask") if masks else None,
        localization=summed_up(hits),
        miss_reasons=tally_of(REASONS, [name for one in entrant.judged for name in one.reason.tolist()]),
        false_alarm_reasons=tally_of(FALSE_ALARMS, [name for one in entrant.judged for name in one.outcome.tolist()]),
        slices=sliced(entrant, draws, sizes),
        under_trained=entrant.under_trained,
        measured=measured(entrant.contender),
        notes=[*seen.values(), *_capped(entrant)],
        sweep=sweep_by_class(entrant, policy) if policy.per_class else sweep(entrant),
        pod=pods(entrant.judged, draws.test, measure=measure, link=link) if entrant.measured else [],
        lrp=lrp(entrant.judged, measured=entrant.measured),
        calibration=calibration([run.test for run in entrant.contender.runs]),
        attribute_agreement=attribute_agreement(entrant.judged) if entrant.measured else None,
        expected_cost=_cost(told, policy),
        localization_slices=localization_slices(hits, entrant.judged, sizes),
    )


def _costs(policy: Policy) -> dict[str, float]:
    if not policy.prevalence:
        return {}
    return {"escape": policy.escape, "overkill": policy.overkill, "prevalence": policy.prevalence}


def _cost(told: Figures, policy: Policy) -> float | None:
    """By the costs and the prevalence that came with the policy, whatever it chooses by; None where none came."""
    if not policy.prevalence:
        return None
    return expected_cost(
        told.escape_rate.rate, told.overkill_rate.rate, prevalence=policy.prevalence, escape=policy.escape,
        overkill=policy.overkill,
    )  # fmt: skip


def _ap(entrant: Entrant, shape: str) -> AveragePrecision:
    return mean_of([
        average_precision(run.test.truth, run.test.predictions, shape) for run in entrant.contender.runs
    ])  # fmt: skip


def _capped(entrant: Entrant) -> list[str]:
    notes = []
    for run in entrant.contender.runs:
        if run.manifest is None or not len(run.test.predictions):
            continue
        full = int((np.bincount(run.test.predictions.image) >= run.manifest.max_detections).sum())
        if full:
            notes.append(f"{full} images hold as many predictions as the cap of {run.manifest.max_detections} allows")
    return list(dict.fromkeys(notes))
