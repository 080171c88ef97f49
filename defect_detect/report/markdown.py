"""comparison.md: the figures compactly, for a merge request or a mail."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from defect_detect.evaluation.comparison import Comparison, Detector, Estimate, Rate
from defect_detect.evaluation.localization import TOUCHED
from defect_detect.report import glossary, wording
from defect_detect.report.further import further

_MARKS = re.compile(r"([\\`*_\[\]|~#])")


def render(comparison: Comparison, *, measurements: Mapping[str, Any] | None) -> str:
    """The page as GitHub-flavoured Markdown. The same input gives the same bytes."""
    lead, points = wording.verdict(comparison)
    parts = [
        f"# Which detector misses the fewest defects? {plain(comparison.dataset.name)}",
        f"**{plain(lead)}**",
        _bullets([plain(point) for point in points]),
        _judged_on(comparison),
        _bullets([f"Note: {plain(warning)}" for warning in comparison.warnings]),
        _rates(comparison),
        "Brackets: 95 % intervals over units.",
        _bullets([plain(line) for line in further(comparison)]),
        _pairs(comparison),
        _reasons(comparison),
        _agreement(comparison),
        _slices(comparison),
        _summaries(comparison),
        _ranks(comparison),
        _transfer(comparison),
        _how(comparison),
        "Cost is in measurements.json, kept apart from the figures." if measurements else "",
        "Pictures of the missed defects: report.html. Every defect and detector: ledger.csv.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """Text from data, so that Markdown and HTML in it are shown and not run; on one line."""
    return _MARKS.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _estimate(estimate: Estimate) -> str:
    found = wording.best_interval(estimate)
    return wording.share(estimate.rate) + (f" [{wording.percent_interval(found)}]" if found else "")


def _fppi(estimate: Estimate) -> str:
    found = wording.best_interval(estimate)
    return wording.per_image(estimate.rate) + (f" [{wording.interval(found)}]" if found else "")


def _name(detector: Detector) -> str:
    flags = wording.flags(detector)
    return plain(detector.name) + (f" ({', '.join(flags)})" if flags else "")


def _judged_on(comparison: Comparison) -> str:
    facts = comparison.dataset
    return (
        f"Judged on {wording.plural(facts.defects.get('test', 0), 'defect')} in "
        f"{wording.plural(facts.images.get('test', 0), 'test image')} ({facts.defect_free.get('test', 0):,} "
        f"defect-free), {wording.plural(facts.units.get('test', 0), 'unit')}; "
        f"{plain(wording.judged_at(comparison))}."
    )


def _rates(comparison: Comparison) -> str:
    heads = ("detector", "FN rate", "any class", "FPPI", "escape", "overkill", "AP50", "IoU of hits", "threshold")
    return _table(
        heads,
        [
            (
                _name(d),
                _estimate(d.test.fn_rate),
                wording.share(d.test.fn_rate_any_class.rate),
                _fppi(d.test.fppi),
                wording.share(d.test.escape_rate.rate),
                wording.share(d.test.overkill_rate.rate),
                wording.number(d.box_ap.ap50),
                f"{wording.number(d.localization.iou_mean, 2)} ({d.localization.hits:,} hits)",
                wording.thresholds(d),
            )
            for d in comparison.detectors
        ],
    )


def _pairs(comparison: Comparison) -> str:
    if not comparison.pairs:
        return ""
    heads = (
        "a \u2212 b", "FN rate, points", "p (Holm)", "McNemar p", "FPPI", "matched budget",
        "both / only a / only b / neither found", f"IoU on common hits (IoU ≥ {TOUCHED:g})",
    )  # fmt: skip
    rows = [
        (
            f"{plain(p.a)} \u2212 {plain(p.b)}",
            wording.points(p.fn_rate),
            wording.probability(p.fn_rate.p_holm),
            wording.probability(p.mcnemar_p),
            wording.difference(p.fppi),
            "yes" if p.matched_budget else "no",
            f"{p.both_found} / {p.only_a_found} / {p.only_b_found} / {p.both_missed}",
            f"{wording.difference(p.localization)} ({wording.plural(p.common_hits, 'common hit')})",
        )
        for p in comparison.pairs
    ]
    return f"## Detector against detector\n\n{_table(heads, rows)}"


def _reasons(comparison: Comparison) -> str:
    names = [plain(d.name) for d in comparison.detectors]
    rows = []
    for reason in glossary.MISS_REASONS:
        counts = [Rate(count=d.miss_reasons.get(reason, 0), of=sum(d.miss_reasons.values()))
                  for d in comparison.detectors]  # fmt: skip
        rows.append((reason.replace("_", " "), *(wording.fraction(rate) for rate in counts)))
    return f"## Why defects were missed\n\n{_table(('reason', *names), rows)}"


def _agreement(comparison: Comparison) -> str:
    agreement, names = comparison.agreement, [d.name for d in comparison.detectors]
    ordered = sorted(agreement.subsets, key=lambda s: (-len(s.missed_by), -s.count, s.missed_by))
    rows = [
        (plain(wording.missed_by(s.missed_by, names)), wording.share(Rate(count=s.count, of=agreement.of)))
        for s in ordered
    ]
    return f"## Who missed what\n\n{_table(('', 'defects'), rows)}"


def _slices(comparison: Comparison) -> str:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for d in comparison.detectors:
        for part in d.slices:
            found.setdefault((part.by, part.value), {})[d.name] = wording.share(part.fn_rate.rate)
    if not found:
        return ""
    names = [d.name for d in comparison.detectors]
    rows = [
        (f"{plain(by)}: {plain(value)}", *(texts.get(name, wording.NOTHING) for name in names))
        for (by, value), texts in found.items()
    ]
    return f"## FN rate by class and size\n\n{_table(('', *map(plain, names)), rows)}"


def _summaries(comparison: Comparison) -> str:
    rows = []
    for d in comparison.detectors:
        for kind, ap in (("boxes", d.box_ap), ("masks", d.mask_ap)):
            if ap is not None:
                figures = (ap.ap, ap.ap50, ap.ap75, d.froc.score, d.froc.lamr)
                rows.append((f"{plain(d.name)}, {kind}", *map(wording.number, figures)))
    table = _table(("detector", "AP", "AP50", "AP75", "FROC score", "LAMR"), rows)
    return f"## Over all thresholds\n\nSummaries, not figures of the operating point.\n\n{table}"


def _ranks(comparison: Comparison) -> str:
    """The order under each rule for a hit, with the misses where they are known."""
    rows = []
    for rule, order in comparison.rank_stability.items():
        misses = comparison.rank_misses.get(rule, {})
        places = [plain(name) + (f" {misses[name]:g}" if name in misses else "") for name in order]
        rows.append((plain(rule), ", ".join(places)))
    table = _table(("rule for a hit", "from the fewest misses up"), rows)
    return f"## Does the order hold?\n\n{table}" if rows else ""


def _transfer(comparison: Comparison) -> str:
    rows = []
    for d in comparison.detectors:
        before = d.operating_point.validation
        rows.append(
            (
                plain(d.name),
                wording.thresholds(d),
                wording.share(before.fn_rate.rate) if before else wording.NOTHING,
                wording.share(d.test.fn_rate.rate),
                wording.per_image(before.fppi.rate) if before else wording.NOTHING,
                wording.per_image(d.test.fppi.rate),
            )
        )
    heads = ("detector", "threshold", "FN rate, validation", "FN rate, test", "FPPI, validation", "FPPI, test")
    return f"## From validation to test\n\n{_table(heads, rows)}"


def _how(comparison: Comparison) -> str:
    facts, protocol = comparison.dataset, comparison.protocol
    lines = [
        f"Intervals: {protocol.resamples:,} resamples of units, seed {protocol.seed}",
        *(f"Dataset, {plain(split)}: `{mark}`" for split, mark in facts.fingerprints.items()),
        f"Left out: {plain(', '.join(f'{k} {v}' for k, v in facts.quarantined.items()) or 'nothing')}",
        f"Versions: {plain(', '.join(f'{k} {v}' for k, v in protocol.versions.items()))}",
    ]
    return f"## How it was measured\n\n{_bullets(lines)}"
