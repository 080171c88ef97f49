"""Whether a detector misses more than it did in an earlier comparison, on the same defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.evaluation.comparison import Difference
from defect_detect.evaluation.gate import Regression, Told
from defect_detect.evaluation.intervals import percentile
from defect_detect.evaluation.judged import Contender
from defect_detect.evaluation.missed import FIGURES, opportunities, scored, tally
from defect_detect.evaluation.resampling import ratio, weighted
from defect_detect.evaluation.statistics import holm, sign_flip
from defect_detect.tables import Column, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A contender at its own thresholds, (K,) for each seed."""

    contender: Contender
    threshold: tuple[Floats, ...]

    def per_unit(self, figure: str) -> tuple[Floats, Floats]:
        """(U,) mean count over seeds and (U,) denominator of one of FIGURES on test."""
        tables = [scored(run.test) for run in self.contender.runs]
        column = FIGURES.index(figure)
        counts = [tally(one, vector)[:, column] for one, vector in zip(tables, self.threshold, strict=True)]
        return np.mean(counts, axis=0), opportunities(tables[0])[:, column].astype(np.float64)


def worse(
    condition: Regression, pairs: Sequence[tuple[Standing, Standing]], draws: Column, *, figure: str, seed: int
) -> list[Told]:
    """The condition for each (now, then), held against one truth; p adjusted by Holm over them.

    `draws` (B, U) are resamples of test, `figure` is `fn_rate`, or `fppi` where the policy fixes the recall. The test
    is that of two detectors: studentized sign flips of the units' differences, two-sided. Where the units are too few
    for it to show anything, the condition fails.
    """
    units = int((pairs[0][0].per_unit(figure)[1] > 0).sum()) if pairs else 0
    if 2.0 ** (1 - units) >= condition.alpha:
        # All signs alike is the least likely of 2 ** units outcomes, and its mirror image is as unlikely.
        return [_too_few(condition, now.contender.name, units) for now, _ in pairs]
    found = [_difference(now, then, draws, figure, seed) for now, then in pairs]
    adjusted = holm([one.p for one in found])
    return [
        _told(condition, (now.contender.name, then.contender.name), difference, p, figure)
        for (now, then), difference, p in zip(pairs, found, adjusted, strict=True)
    ]


def _too_few(condition: Regression, name: str, units: int) -> Told:
    sentence = f"{name}: {units} units with something to count can't show p < {condition.alpha:g}, whatever happens"
    return Told(condition=condition.text, detector=name, value=None, failed=True, sentence=sentence)


def _difference(now: Standing, then: Standing, draws: Column, figure: str, seed: int) -> Difference:
    (count, of), (before, _) = now.per_unit(figure), then.per_unit(figure)
    drawn = ratio(weighted(draws, count - before), weighted(draws, of))
    return Difference(
        value=float((count.sum() - before.sum()) / of.sum()) if of.sum() else None,
        interval=percentile(drawn, int((of > 0).sum())),
        p=sign_flip(count - before, seed=seed) if of.sum() else None,
    )


def _told(condition: Regression, names: tuple[str, str], told: Difference, p: float | None, figure: str) -> Told:
    name, other = names
    if told.value is None or p is None:  # pragma: no cover - without units nothing comes this far
        raise ValueError("nothing to count")
    what, scale, unit = ("misses", 100, " points") if figure == "fn_rate" else ("raises", 1, " false alarms an image")
    between = ""
    if told.interval is not None:
        between = f" (95 % interval {scale * told.interval.low:+.3g} to {scale * told.interval.high:+.3g})"
    sentence = (
        f"{name}: {what} {scale * told.value:+.3g}{unit} against {other}{between}, p = {p:.3g}, fails if more and "
        f"p < {condition.alpha:g}"
    )
    failed = told.value > 0 and p < condition.alpha
    return Told(condition=condition.text, detector=name, value=p, failed=failed, sentence=sentence)
