"""Counts by bins of 0 to 1 as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from defect_detect.report.charts.axis import Tick
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Places in percent from the left and from the top."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """One detector's bars; `median` in percent from the left, None without counts."""

    identity: Identity
    bars: tuple[Bar, ...]
    of: int
    median: float | None
    x_ticks: tuple[Tick, ...]
    top: str
    """What a bar as high as the plot says."""


def histograms(
    counts: Sequence[tuple[Identity, Sequence[int], float | None]], *, start: float, name: str
) -> list[Histogram]:
    """A plot for each detector, all to one scale: the share of its own counts in each bin.

    Args:
        counts: identity, counts in equal bins of 0 to 1, and the median.
        start: where the axis begins; no bin under it may hold anything.
        name: what the bins are of.
    """
    highest = max((max(bins) / sum(bins) for _, bins, _ in counts if sum(bins)), default=1.0)

    def right(x: float) -> float:
        return round(100 * (x - start) / (1 - start), 3)

    return [
        Histogram(
            identity=identity,
            bars=tuple(
                Bar(
                    x=right(k / len(bins)),
                    y=round(100 * (1 - n / sum(bins) / highest), 3),
                    width=round(100 / len(bins) / (1 - start), 3),
                    height=round(100 * n / sum(bins) / highest, 3),
                    text=f"{name} {k / len(bins):.2f} to {(k + 1) / len(bins):.2f}: {n:,} of {sum(bins):,}",
                )
                for k, n in enumerate(bins)
                if n
            ),
            of=sum(bins),
            median=None if median is None else right(max(median, start)),
            x_ticks=tuple(Tick(at=right(x / 10), label=f"{x / 10:g}") for x in range(round(10 * start), 11)
                          if (x - round(10 * start)) % 2 == (10 - round(10 * start)) % 2),
            top=f"{100 * highest:.0f}\u00a0%",
        )
        for identity, bins, median in counts
    ]  # fmt: skip


def start_of(counts: Sequence[Sequence[int]]) -> float:
    """The last tenth from 0 to 0.5 under which no bin holds anything."""
    filled = [k / len(bins) for bins in counts for k, n in enumerate(bins) if n]
    return min(int(10 * min(filled, default=0.0) + 1e-9) / 10, 0.5)
