"""Whether the order of detectors hangs on what counts as a hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defect_detect.evaluation.comparison import Comparison
from defect_detect.report.palette import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A detector's rank under a rule, its misses where they are known, and whether the rank is another than usual."""

    identity: Identity
    rank: int | None
    misses: float | None
    moved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Rule by rule; `usual` is the rule that the verdict uses, None where it is not among them."""

    rows: tuple[tuple[str, tuple[Place, ...]], ...]
    usual: str | None
    stable: bool | None


def ranks(comparison: Comparison, looks: Mapping[str, Identity]) -> Ranks | None:
    """None where no order is known. Detectors with as many misses share a rank."""
    if not comparison.rank_stability:
        return None
    usual: str | None = f"IoU {comparison.protocol.iou:g}"
    standing = {rule: _standing(comparison, rule) for rule in comparison.rank_stability}
    if usual not in standing:
        usual = None
    expected = standing[usual] if usual is not None else {}
    rows = []
    for rule, places in standing.items():
        misses = comparison.rank_misses.get(rule, {})
        rows.append(
            (
                rule,
                tuple(
                    Place(
                        identity=look, rank=places.get(name), misses=misses.get(name),
                        moved=usual is not None and places.get(name) != expected.get(name),
                    )
                    for name, look in looks.items()
                ),
            )
        )  # fmt: skip
    stable = None if usual is None else not any(place.moved for _, row in rows for place in row)
    return Ranks(rows=tuple(rows), usual=usual, stable=stable)


def _standing(comparison: Comparison, rule: str) -> dict[str, int]:
    """Rank by detector, from 1 up; the order stands for the counts where those are not known."""
    order = comparison.rank_stability[rule]
    misses = comparison.rank_misses.get(rule, {})
    found: dict[str, int] = {}
    for place, name in enumerate(order):
        before = order[place - 1] if place else None
        tied = before is not None and name in misses and misses.get(before) == misses[name]
        found[name] = found[before] if tied and before is not None else place + 1
    return found
