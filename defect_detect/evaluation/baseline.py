"""Whether a detector misses more than it did in an earlier comparison, on the same defects."""

from __future__ import annotations

from collections.abc import Sequence

from defect_detect.evaluation.comparison import Difference
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.gate import Regression, Told
from defect_detect.evaluation.pairs import difference
from defect_detect.evaluation.statistics import ALPHA, holm


def worse(condition: Regression, pairs: Sequence[tuple[Entrant, Entrant]], *, figure: str, seed: int) -> list[Told]:
    """The condition for each (now, then), held against one truth; p adjusted by Holm over them.

    `figure` is `fn_rate`, or `fppi` where the policy fixes the recall. Difference, interval and test are those of two
    detectors of one comparison (`pairs.difference`). Where a detector has no figure, or the units are too few for
    any test to show something, the condition fails.

    >>> from defect_detect.evaluation import example, gate
    >>> from defect_detect.evaluation.compare import drawn
    >>> from defect_detect.evaluation.entrant import enter
    >>> from defect_detect.evaluation.operating import parse_policy
    >>> both = [example.contender("new", silent=True), example.contender("old")]
    >>> now, then = (enter(one, parse_policy("fppi<=0.25"), drawn(both, 0, 100)) for one in both)
    >>> (condition,) = gate.parse(["worse than baseline, p < 0.05"])
    >>> worse(condition, [(now, then)], figure="fn_rate", seed=0)[0].sentence
    "new: 2 units with something to count can't show p < 0.05, whatever happens"
    """
    seen = [(now, then) for now, then in pairs if now.measured and then.measured]
    blind = [_blind(condition, now, then) for now, then in pairs if not (now.measured and then.measured)]
    if not seen:
        return blind
    units = int((seen[0][0].per_unit(figure)[1] > 0).sum())
    if len(seen) * 2.0**-units >= condition.alpha:
        # Of the 2 ** units ways that units can turn out, the one where all are worse is the least likely.
        return [*blind, *(_too_few(condition, now.name, units) for now, _ in seen)]
    found = [difference(now, then, figure, seed, tested=True) for now, then in seen]
    others = [difference(now, then, _beside(figure), seed, tested=False) for now, then in seen]
    adjusted = holm([one.p for one in found])
    return [
        *blind,
        *(
            _told(condition, (now.name, then.name), (figure, one, p), other)
            for (now, then), one, p, other in zip(seen, found, adjusted, others, strict=True)
        ),
    ]


def _beside(figure: str) -> str:
    return "fppi" if figure == "fn_rate" else "fn_rate"


def _blind(condition: Regression, now: Entrant, then: Entrant) -> Told:
    who = " and ".join(one.name for one in (now, then) if not one.measured)
    sentence = f"{now.name}: can't be held against the baseline, since {who} has no threshold that meets the policy"
    return Told(condition=condition.text, detector=now.name, value=None, failed=True, sentence=sentence)


def _too_few(condition: Regression, name: str, units: int) -> Told:
    sentence = f"{name}: {units} units with something to count can't show p < {condition.alpha:g}, whatever happens"
    return Told(condition=condition.text, detector=name, value=None, failed=True, sentence=sentence)


def _told(
    condition: Regression, names: tuple[str, str], tested: tuple[str, Difference, float | None], beside: Difference
) -> Told:
    name, other = names
    figure, told, p = tested
    if told.value is None or p is None:  # pragma: no cover - without units nothing comes this far
        raise ValueError("nothing to count")
    # Of zero or all counted the interval knows more than the test, but at no other level than its own.
    excluded = told.interval is None or told.interval.low > 0 or condition.alpha > ALPHA
    failed = told.value > 0 and p < condition.alpha and excluded
    sentence = (
        f"{name}: {_words(figure, told)} against {other}, p = {p:.3g}, fails if more and p < {condition.alpha:g}; "
        f"beside it {_words(_beside(figure), beside)}"
    )
    return Told(condition=condition.text, detector=name, value=p, failed=failed, sentence=sentence)


def _words(figure: str, told: Difference) -> str:
    what, scale, unit = ("misses", 100, " points") if figure == "fn_rate" else ("raises", 1, " false alarms an image")
    if told.value is None:  # pragma: no cover - there are images and defects
        return f"{what} nothing that can be counted"
    between = ""
    if told.interval is not None:
        between = f" (95 % interval {scale * told.interval.low:+.3g} to {scale * told.interval.high:+.3g})"
    return f"{what} {scale * told.value:+.3g}{unit}{between}"
