"""What a review changes: the contenders held against the corrected truth, and the figures before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from defect_detect.evaluation import review as reviews
from defect_detect.evaluation.comparison import Adjudicated, Adjudication, Rate
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.judged import Contender
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.review import Review
from defect_detect.evaluation.reviewed_truth import corrected


def reviewed(contenders: Sequence[Contender], review: Review) -> tuple[Contender, ...]:
    """The contenders with the truth of test as the review corrects it; validation stays, and with it the thresholds.

    Raises:
        DatasetError: decisions about another dataset, unknown or contradictory ones; all at once.
    """
    truth = corrected(contenders[0].runs[0].test.truth, review, contenders)
    return tuple(
        replace(
            contender,
            runs=tuple(
                replace(run, test=evaluate(truth, run.test.predictions, run.test.matching.rule))
                for run in contender.runs
            ),
        )
        for contender in contenders
    )


def adjudication(review: Review, before: Sequence[Entrant], after: Sequence[Entrant]) -> Adjudication:
    """Each detector's FN rate and false alarms on the labels as they were and as they are corrected."""
    sampled = [entry for entry in review.entries if entry.sampled]
    decided = [entry for entry in sampled if entry.decision]
    whole = bool(sampled) and len(decided) == len(sampled)
    told = [(figures(one), figures(other)) for one, other in zip(before, after, strict=True)]
    return Adjudication(
        verdicts={word: sum(entry.decision == word for entry in review.decided) for word in reviews.DECISIONS},
        reviewed_hits=len(decided),
        optimistic=not whole,
        detectors=[
            Adjudicated(
                detector=entrant.name,
                before=first.fn_rate,
                after=second.fn_rate,
                false_alarms_before=first.fppi.rate,
                false_alarms_after=second.fppi.rate,
            )
            for entrant, (first, second) in zip(after, told, strict=True)
        ],
        notes=_notes(review, after),
    )


def _notes(review: Review, after: Sequence[Entrant]) -> list[str]:
    sampled = [entry for entry in review.entries if entry.sampled]
    decided = [entry for entry in sampled if entry.decision]
    open_ = len(review.entries) - len(review.decided)
    notes = [f"{open_:,} of {len(review.entries):,} entries are undecided."] if open_ else []
    if len(decided) < len(sampled):
        notes.append(
            f"{len(sampled) - len(decided)} of the {len(sampled)} sampled hits are undecided: the others are no random "
            "sample."
        )
    elif sampled:
        notes.append(_extrapolated(review, after))
    return notes


def _extrapolated(review: Review, after: Sequence[Entrant]) -> str:
    """What the sample of hits says of the hits that nobody looked at (Clopper-Pearson)."""
    from scipy import stats

    words = [entry.decision for entry in review.entries if entry.sampled]
    wrong = sum(word in (reviews.LABEL_ERROR, reviews.BORDERLINE) for word in words)
    found = review.header.sample.of if review.header.sample is not None else len(words)
    bound = stats.binomtest(wrong, len(words)).proportion_ci(method="exact")
    text = (
        f"{wrong} of {len(words)} sampled hits are not defects that count ({100 * wrong / len(words):.1f} %, 95 % "
        f"interval {100 * bound.low:.1f} to {100 * bound.high:.1f} %)"
    )
    others = wrong / len(words) * (found - len(words))
    rates = []
    for entrant in after:
        rate = figures(entrant).fn_rate.rate
        left = rate.of / entrant.seeds - others
        if entrant.measured and left > 0:
            rates.append(f"{entrant.name} {100 * rate.count / entrant.seeds / left:.1f} %")
    if not wrong or not rates:
        return f"{text}."
    rest = f"if the {found - len(words):,} hits that nobody looked at are like them, FN rates are {', '.join(rates)}"
    return f"{text}; {rest}."


def words(told: Adjudication) -> str:
    """What was decided, and how the figures were before it."""
    counts = ", ".join(f"{count} {word}" for word, count in told.verdicts.items() if count) or "nothing decided"
    label = "; reviewed misses only, optimistic" if told.optimistic else ""
    before = ", ".join(f"{one.detector} {_share(one.before.rate)}" for one in told.detectors)
    return f"All figures are those after the review of labels ({counts}{label}). Before it, missed: {before}."


def _share(rate: Rate) -> str:
    return "n/a" if rate.value is None else f"{rate.count:,} of {rate.of:,} ({100 * rate.value:.1f} %)"
