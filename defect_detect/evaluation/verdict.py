"""The verdict, in words an inspection engineer uses: numbers with denominators, points with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from defect_detect.evaluation import adjudicate
from defect_detect.evaluation.comparison import Adjudication, Detector, Difference, Estimate, Pair, Rate
from defect_detect.evaluation.localization import TOUCHED
from defect_detect.evaluation.operating import Policy
from defect_detect.evaluation.pairs import shown
from defect_detect.evaluation.resampling import FEW_SEEDS

POINT = 100


def verdict(
    detectors: Sequence[Detector],
    pairs: Sequence[Pair],
    policy: Policy,
    allowed: Sequence[str],
    adjudication: Adjudication | None = None,
) -> str:
    """What to choose, or that the data can't tell. Critical misses come first."""
    parts = [_critical(detectors), _choice(detectors, pairs, policy), *_unreachable(detectors), *_untrained(detectors)]
    parts += [pair.sentence for pair in pairs if pair.outcome != "no_verdict"]
    parts += [_scope(detectors) if pairs else "", _allowed(allowed)]
    parts += [adjudicate.words(adjudication)] if adjudication is not None else []
    return " ".join(part for part in parts if part)


def sentence(pair: Pair, detectors: Mapping[str, Detector], policy: Policy) -> str:
    """What can be said of two detectors."""
    if pair.outcome == "no_verdict":
        return _no_verdict(pair, detectors)
    recall = policy.kind == "recall"
    difference = pair.fppi if recall else pair.fn_rate
    better, worse = (pair.b, pair.a) if (difference.value or 0) > 0 else (pair.a, pair.b)
    first, second = (_figure(detectors[name], recall=recall) for name in (better, worse))
    what, unit = ("raises fewer false alarms", "per image") if recall else ("misses fewer defects", "")
    against = " ".join(f"{first} against {second} {unit}".split())
    tested = f"{_points(difference, recall=recall)}, p {_p(difference)}"
    placed = _localization(pair)
    if pair.outcome in ("a", "b"):
        return f"{better} {what} than {worse}: {against}; {tested}.{placed}"
    if not pair.matched_budget and shown(difference):
        rest = "misses more defects" if recall else "raises more false alarms"
        price = (_figure(detectors[name], recall=not recall) for name in (better, worse))
        return (
            f"{better} {what} than {worse} ({against}; {tested}), but {rest} ({' against '.join(price)}): not "
            f"distinguishable at a matched budget.{placed}"
        )
    return (
        f"{pair.a} and {pair.b} are not distinguishable at a matched budget: {better} {what.split()[0]} "
        f"{against} of {worse}; {tested}.{_power(pair, recall=recall)}{placed}"
    )


def _power(pair: Pair, *, recall: bool) -> str:
    """What would have been seen, or that it can't be told; nothing where FN rates aren't what is compared."""
    if recall:
        return ""
    if pair.smallest_detectable is None or pair.defects_needed is None:
        return " Too little varies between them to tell what difference would have shown."
    return (
        f" A difference of {POINT * pair.smallest_detectable:.1f} points would have shown (80 % power); "
        f"to see 5 points takes about {pair.defects_needed:,} defects."
    )


def _localization(pair: Pair) -> str:
    """Whose boxes fit better on the defects that both found, where that is shown."""
    told = pair.localization
    if told.value is None or told.interval is None or told.interval.low <= 0 <= told.interval.high:
        return ""
    better = pair.a if told.value > 0 else pair.b
    gain = f"IoU higher by {abs(told.value):.3f}"
    common = f"the {pair.common_hits:,} defects that both found at IoU ≥ {TOUCHED:g}"
    return f" On {common}, {better} places its boxes better ({gain})."


def _no_verdict(pair: Pair, detectors: Mapping[str, Detector]) -> str:
    reasons = []
    for name in (pair.a, pair.b):
        if detectors[name].under_trained:
            reasons.append(f"{name} was still improving when its training ended (under-trained)")
        if detectors[name].operating_point.status in ("unreachable", "not_measurable") and pair.fn_rate.value is None:
            reasons.append(f"{name} has no threshold under this policy")
    return f"No verdict on {pair.a} and {pair.b}: {'; '.join(reasons)}."


def _critical(detectors: Sequence[Detector]) -> str:
    rates = {
        detector.name: part.fn_rate.rate
        for detector in detectors
        for part in detector.slices
        if (part.by, part.value) == ("severity", "critical")
    }
    if not rates:
        return ""
    return "Critical defects missed: " + ", ".join(f"{name} {share(rate)}" for name, rate in rates.items()) + "."


def _choice(detectors: Sequence[Detector], pairs: Sequence[Pair], policy: Policy) -> str:
    judged = [d for d in detectors if not d.under_trained and d.test.fn_rate.rate.of]
    if not judged:
        return "No detector can be judged."
    if len(detectors) == 1:
        return f"{_missing(judged[0])} {_budget(policy)}."
    wins = {(pair.a, pair.b) if pair.outcome == "a" else (pair.b, pair.a) for pair in pairs if pair.outcome in "ab"}
    leaders = [d for d in judged if not any(loser == d.name for _, loser in wins)]
    for leader in leaders:
        if all((leader.name, other.name) in wins for other in judged if other is not leader) and len(judged) > 1:
            most = "raises the fewest false alarms" if policy.kind == "recall" else "misses the fewest defects"
            among = "" if len(judged) == len(detectors) else "Of those that can be judged, "
            return f"{among}{leader.name} {most} {_budget(policy)}: {_figure(leader, recall=policy.kind == 'recall')}."
    if len(judged) == 1:
        return f"Only {judged[0].name} can be judged: {_missing(judged[0])} {_budget(policy)}."
    names = _listed([d.name for d in leaders])
    beaten = [d.name for d in judged if d not in leaders]
    text = f"The data can't tell which is best {_budget(policy)}: {names} are not distinguishable"
    return f"{text}; {_listed(beaten)} {'is' if len(beaten) == 1 else 'are'} worse." if beaten else f"{text}."


def _missing(detector: Detector) -> str:
    """`yolo misses 5 of 53 defects (9.4 %, 95 % interval 3.1 to 20.7 %)`."""
    rate = detector.test.fn_rate.rate
    percent = POINT * (rate.value or 0)
    between = _between(detector.test.fn_rate)
    return f"{detector.name} misses {rate.count:,} of {rate.of:,} defects ({percent:.1f} %{between})"


def _between(estimate: Estimate) -> str:
    interval = estimate.this_policy or estimate.this_threshold
    if interval is None:
        return ""
    return f", 95 % interval {POINT * interval.low:.1f} to {POINT * interval.high:.1f} %"


def _figure(detector: Detector, *, recall: bool) -> str:
    if recall:
        return f"{detector.test.fppi.rate.value or 0:.3g}"
    return share(detector.test.fn_rate.rate)


def share(rate: Rate) -> str:
    """`5 of 53 (9.4 %)`."""
    if rate.value is None:
        return "n/a"
    return f"{rate.count:,} of {rate.of:,} ({POINT * rate.value:.1f} %)"


def _points(difference: Difference, *, recall: bool) -> str:
    """The better one's lead, with its interval turned the same way."""
    if difference.value is None:
        return "no difference measured"
    scale, unit, digits = (1, "fewer per image", 3) if recall else (POINT, "points fewer", 1)
    text = f"{scale * abs(difference.value):.{digits}f} {unit}"
    if difference.interval is None:
        return text
    low, high = scale * difference.interval.low, scale * difference.interval.high
    if difference.value <= 0:
        low, high = -high, -low
    return f"{text} (95 % interval {low:.{digits}f} to {high:.{digits}f})"


def _p(difference: Difference) -> str:
    p = difference.p_holm if difference.p_holm is not None else difference.p
    if p is None:
        return "not tested"
    smallest = 0.001
    return f"= {p:.3f}" if p >= smallest else "< 0.001"


def _budget(policy: Policy) -> str:
    said = {
        "fppi": f"at a budget of {policy.value:g} false alarms per image",
        "overkill": f"when at most {POINT * policy.value:g} % of the defect-free parts may be rejected",
        "recall": f"when at least {POINT * policy.value:g} % of the defects must be found",
        "f1": "at each one's best F1",
        "cost": "at each one's least expected cost",
        "score": f"at score {policy.value:g}",
    }[policy.kind]
    return f"{said}, with a threshold for each class" if policy.per_class else said


def _unreachable(detectors: Sequence[Detector]) -> list[str]:
    names = [d.name for d in detectors if d.operating_point.status == "unreachable" and d.test.fn_rate.rate.of]
    if not names:
        return []
    verb = "counts" if len(names) == 1 else "count"
    return [f"{_listed(names)} can't keep the policy at any threshold and {verb} as missing every defect."]


def _untrained(detectors: Sequence[Detector]) -> list[str]:
    names = [d.name for d in detectors if d.under_trained]
    if not names:
        return []
    if len(names) == 1:
        return [f"{names[0]} was still improving when its training ended: no verdict on it; train it longer."]
    return [f"{_listed(names)} were still improving when their training ended: no verdict on them; train them longer."]


def _scope(detectors: Sequence[Detector]) -> str:
    least = min(len(d.seeds) for d in detectors)
    if least >= FEW_SEEDS:
        return f"Trained {least} times each, so this speaks of the detectors as trained here, not of one lucky run."
    return "This speaks of these trained models; a verdict on the frameworks needs at least 3 seeds of each."


def _allowed(differences: Sequence[str]) -> str:
    return f"Not measured alike (allowed): {'; '.join(differences)}." if differences else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
