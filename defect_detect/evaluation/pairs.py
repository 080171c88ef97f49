"""Two detectors on the same defects: differences, their intervals and tests, and who misses fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np

from defect_detect.evaluation.agreement import mostly_missed
from defect_detect.evaluation.comparison import Difference, Interval, Pair
from defect_detect.evaluation.entrant import Draws, Entrant, spread_of
from defect_detect.evaluation.froc_figures import DrawnFroc
from defect_detect.evaluation.intervals import difference_interval, percentile
from defect_detect.evaluation.localization import touched_iou
from defect_detect.evaluation.resampling import FEW_SEEDS, ratio, weighted
from defect_detect.evaluation.spread import Spread, sampled
from defect_detect.evaluation.statistics import ALPHA, holm, mcnemar, needed, sign_flip, smallest_detectable
from defect_detect.tables import Floats


def pairs(entrants: Sequence[Entrant], draws: Draws, drawn: Mapping[str, DrawnFroc], endpoint: str) -> list[Pair]:
    """Every pair, in the order of the entrants; p adjusted by Holm over those that can get a verdict.

    `drawn` holds their resampled curves by name, with the area up to the budget. `endpoint` is the figure that is
    tested: `fn_rate`, or `fppi` where the policy fixes the recall.
    """
    found = [_pair(a, b, draws, drawn, endpoint) for a, b in combinations(entrants, 2)]
    tested = [getattr(pair, endpoint) for pair in found]
    adjusted = holm([
        None if pair.outcome == "no_verdict" else told.p for pair, told in zip(found, tested, strict=True)
    ])  # fmt: skip
    return [_decided(pair, endpoint, p) for pair, p in zip(found, adjusted, strict=True)]


def _pair(a: Entrant, b: Entrant, draws: Draws, drawn: Mapping[str, DrawnFroc], endpoint: str) -> Pair:
    missed_a, missed_b = mostly_missed(a.judged), mostly_missed(b.judged)
    only_a, only_b = int((~missed_a & missed_b).sum()), int((missed_a & ~missed_b).sum())
    measured = a.measured and b.measured
    verdict = measured and not (a.under_trained or b.under_trained)
    fn_rate, fppi = (difference(a, b, name, draws.seed, tested=name == endpoint) for name in ("fn_rate", "fppi"))
    of_a, of_b = drawn[a.name], drawn[b.name]
    area = Difference(value=_known(of_a.area - of_b.area), interval=percentile(of_a.areas - of_b.areas, _units(a)))
    common, localization = _localization(a, b, draws)
    spread = spread_of("fn_rate", [(1, a), (-1, b)], policy=True)
    # Where exact bounds stand in, the spread is too small to tell what would have shown.
    known = measured and fn_rate.interval is not None and not fn_rate.interval.method.startswith("exact")
    nothing = Difference(value=None, interval=None)
    return Pair(
        a=a.name,
        b=b.name,
        fn_rate=fn_rate if measured else nothing,
        mcnemar_p=mcnemar(only_b, only_a) if measured else None,
        fppi=fppi if measured else nothing,
        partial_froc=area,
        matched_budget=False,
        outcome="indistinguishable" if verdict else "no_verdict",
        both_found=int((~missed_a & ~missed_b).sum()),
        only_a_found=only_a,
        only_b_found=only_b,
        both_missed=int((missed_a & missed_b).sum()),
        common_hits=common,
        localization=localization,
        smallest_detectable=smallest_detectable(spread.error, spread.freedom) if known else None,
        defects_needed=needed(spread.error, int(a.of[:, 0].sum()), freedom=spread.freedom) if known else None,
        sentence="",
    )


def _decided(pair: Pair, endpoint: str, p_holm: float | None) -> Pair:
    """The pair with its adjusted p and what follows from it."""
    told: Difference = getattr(pair, endpoint)
    adjusted = msgspec.structs.replace(told, p_holm=p_holm)
    pair = msgspec.structs.replace(pair, **{endpoint: adjusted})
    against = pair.fppi if endpoint == "fn_rate" else pair.fn_rate
    better = "b" if told.value is not None and told.value > 0 else "a"
    matched = not _higher(against, better) or _agrees(pair.partial_froc, better)
    outcome = better if pair.outcome != "no_verdict" and shown(adjusted) and matched else pair.outcome
    return msgspec.structs.replace(pair, matched_budget=matched, outcome=outcome)


def shown(difference: Difference) -> bool:
    """Whether the adjusted test and the interval both say that there is a difference."""
    interval = difference.interval
    tested = difference.p_holm is not None and difference.p_holm < ALPHA
    return tested and interval is not None and (interval.low > 0 or interval.high < 0)


def _higher(difference: Difference, who: str) -> bool:
    """Whether the figure of `who` (a or b) is shown to be higher than the other's."""
    if difference.interval is None:
        return False
    return difference.interval.low > 0 if who == "a" else difference.interval.high < 0


def _agrees(partial: Difference, who: str) -> bool:
    """Whether the area under the beginning of FROC is shown to be larger for `who`."""
    return _higher(partial, who)


def difference(a: Entrant, b: Entrant, figure: str, seed: int, *, tested: bool) -> Difference:
    """One of FIGURES of a less that of b, with its interval; `tested`: the endpoint, with p of no difference.

    The endpoint's interval is that of *this policy*, any other's that of *this threshold*.
    """
    value = _known(a.rate(figure) - b.rate(figure))
    (count_a, of), (count_b, _) = a.per_unit(figure), b.per_unit(figure)
    # The budget that a verdict leans on is that of the thresholds in use, so its difference is held at them:
    # chosen anew, it would vary more, and a real excess would be shown less often.
    spread = spread_of(figure, [(1, a), (-1, b)], policy=tested)
    return Difference(
        value=value,
        interval=difference_interval(count_a, count_b, of, spread, bounded=figure == "fn_rate"),
        p=_p(a, b, figure, spread, seed) if tested and value is not None else None,
    )


def _p(a: Entrant, b: Entrant, figure: str, spread: Spread, seed: int) -> float:
    """Of no difference. Flips of units know neither of chosen thresholds nor of drawn seeds: there Student's p.

    Where nothing varies, as between a silent detector and a perfect one, Student has no p, and flips speak.
    """
    if (a.anew is not None or max(a.seeds, b.seeds) >= FEW_SEEDS) and spread.variance > 0:
        return spread.p(a.rate(figure) - b.rate(figure))
    return sign_flip(np.subtract(a.per_unit(figure)[0], b.per_unit(figure)[0]), seed=seed)


def _localization(a: Entrant, b: Entrant, draws: Draws) -> tuple[int, Difference]:
    """How many defects both found at IoU 0.1, and the IoU of a less that of b on them."""
    difference = touched_iou(a.judged) - touched_iou(b.judged)
    truth, groups = a.test[0].evaluation.truth, a.test[0].units
    rows = np.flatnonzero(truth.defects.counts & ~np.isnan(difference))
    if len(rows) == 0 or not (a.measured and b.measured):
        return 0, Difference(value=None, interval=None)
    unit = groups.of_image[truth.defects.image[rows]]
    total = np.bincount(unit, weights=difference[rows], minlength=len(groups)).astype(float)
    of = np.bincount(unit, minlength=len(groups)).astype(float)
    drawn = ratio(*weighted(draws.test, np.stack([total, of], axis=1)).T)
    value = float(difference[rows].mean())
    return len(rows), Difference(
        value=value, interval=_student(value, drawn, int((of > 0).sum())), p=sign_flip(total, seed=draws.seed)
    )


def _student(value: float, drawn: Floats, units: int) -> Interval | None:
    """Student's interval of a mean over units; None where a single unit, or units all alike, show no spread."""
    spread = sampled(drawn, units)
    if not spread.variance > 0:
        return None
    half = spread.reach * spread.error
    return Interval(low=value - half, high=value + half, method=f"Student's t, bootstrap over {units} units")


def _units(entrant: Entrant) -> int:
    return int((entrant.of[:, 0] > 0).sum())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
