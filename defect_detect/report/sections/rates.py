"""The leading figures: FN rate and FPPI side by side, and the FROC curves they lie on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Comparison, Estimate, Rate
from defect_detect.report import wording
from defect_detect.report.charts import dots, froc
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The two plots, whether anyone has an expected cost, and how the intervals were found."""

    fn_rate: dots.DotPlot
    fppi: dots.DotPlot
    costed: bool
    methods: tuple[str, ...]


def rates(comparison: Comparison, looks: Mapping[str, Identity]) -> Rates:
    """Of every detector at its operating point on test."""
    fn_rows, fppi_rows = [], []
    for d in comparison.detectors:
        fn_rows.append((d.name, "", [value(looks[d.name], d.test.fn_rate)]))
        estimate = d.test.fppi
        alarms = dots.Value(
            identity=looks[d.name], value=estimate.rate.value, interval=wording.best_interval(estimate),
            text=wording.per_image(estimate.rate),
        )  # fmt: skip
        fppi_rows.append((d.name, "", [alarms]))
    return Rates(
        fn_rate=dots.dot_plot(fn_rows, label=percent_tick),
        fppi=dots.dot_plot(fppi_rows, label=lambda x: f"{x:g}"),
        costed=any(d.expected_cost is not None for d in comparison.detectors),
        methods=_methods(comparison),
    )


def value(identity: Identity, estimate: Estimate) -> dots.Value:
    """A share with its interval, as a dot."""
    return dots.Value(
        identity=identity, value=estimate.rate.value, interval=wording.best_interval(estimate),
        text=wording.share(estimate.rate),
    )  # fmt: skip


def percent_tick(x: float) -> str:
    """0.2 as `20 %`."""
    return f"{100 * x:g}\u00a0%"


def froc_plot(comparison: Comparison, looks: Mapping[str, Identity]) -> froc.FrocPlot:
    """Every detector's curve, band and operating point."""
    curves = []
    for d in comparison.detectors:
        missed, fppi = d.test.fn_rate.rate, d.test.fppi.rate
        hits = Rate(count=missed.of - missed.count, of=missed.of)
        point = (fppi.value, hits.value) if fppi.value is not None and hits.value is not None else None
        text = f"recall {wording.share(hits)} at {wording.number(fppi.value)} FPPI"
        curves.append(
            froc.FrocInput(identity=looks[d.name], curve=d.froc.curve, band=d.froc.band, point=point, text=text)
        )
    return froc.froc_plot(curves, images=comparison.dataset.images.get("test", 0), budget=comparison.protocol.budget)


def _methods(comparison: Comparison) -> tuple[str, ...]:
    """How the intervals of the rates were found, each way once."""
    figures = [d.test for d in comparison.detectors]
    estimates = [e for f in figures for e in (f.fn_rate, f.fppi, f.escape_rate, f.overkill_rate)]
    return tuple(sorted({i.method for e in estimates for i in (e.this_policy, e.this_threshold) if i}))
