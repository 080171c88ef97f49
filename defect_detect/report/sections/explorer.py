"""What other thresholds would do: counts at many scores, for the page's sliders to look up."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detect.evaluation.comparison import Comparison, Sweep
from defect_detect.evaluation.sweep import BUDGETS
from defect_detect.report.charts.froc import HIGHEST

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """The data as JSON that is safe inside `<script>`, the script, and its hash for the page's security policy.

    budgets   FPPI on validation, rising; empty where no detector was swept on validation
    start     place of the policy's budget among them
    known     by detector: how many thresholds its slider has; one that was not swept is missing
    by_class  whether each step is a budget with a threshold for each class
    """

    data: Markup
    script: Markup
    script_hash: str
    budgets: tuple[float, ...]
    start: int
    known: Mapping[str, int]
    by_class: bool


def explorer(comparison: Comparison, *, first: int) -> Explorer | None:
    """None where no detector was swept.

    Args:
        comparison: the figures.
        first: the FROC axis begins at 2 ** `first` FPPI.
    """
    from markupsafe import Markup

    swept = {d.name: d.sweep for d in comparison.detectors if d.sweep is not None}
    if not swept:
        return None
    budget = comparison.protocol.budget
    by_class = any(s.by_class for s in swept.values())
    if by_class:
        values = sorted({0.0, *(value for s in swept.values() for value in s.budget)})
    else:
        values = budgets([s.validation_fppi for s in swept.values() if s.validation_fppi is not None], budget)
    data = {
        "budgets": values,
        "first": first,
        "highest": HIGHEST,
        "detectors": [_detector(d.name, swept.get(d.name)) for d in comparison.detectors],
    }
    source = (Path(__file__).parents[1] / "templates" / "explorer.js").read_text(encoding="utf-8")
    # The page drops empty lines, and the hash is that of the text as it stands in the page.
    script = "\n".join(line.rstrip() for line in source.splitlines() if line.strip())
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Explorer(
        data=Markup(in_script(data)),  # noqa: S704 - `in_script` leaves nothing that HTML reads
        script=Markup(script),  # noqa: S704 - the project's own file
        script_hash=f"sha256-{digest}",
        budgets=tuple(values),
        start=values.index(budget) if budget in values else 0,
        known={name: len(sweep.threshold) for name, sweep in swept.items()},
        by_class=by_class,
    )


def in_script(value: Any) -> str:
    """JSON in ASCII without `<`, `>` and `&`, so that no text in it can end the element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def budgets(fppi: Sequence[Sequence[float]], budget: float) -> list[float]:
    """Budgets at which a sweep holds the policy's own choice, and the policy's.

    From 0 over the least FPPI that occurs to just over the highest; none where none was measured.
    """
    seen = [value for column in fppi for value in column if value > 0]
    if not fppi:
        return []
    low, high = (min(seen), max(seen)) if seen else (budget, budget)
    inside = [float(value) for value in BUDGETS if low <= value <= high]
    above = [float(value) for value in BUDGETS if value > high][:1]
    return sorted({0.0, *inside, *above, *([budget] if budget > 0 else [])})


def _detector(name: str, sweep: Sweep | None) -> dict[str, Any]:
    if sweep is None:
        return {"name": name, "threshold": []}
    return {
        "name": name,
        **({"limit": sweep.budget, "classes": _classes(sweep)} if sweep.by_class else {}),
        "threshold": sweep.threshold,
        "validation": sweep.validation_fppi,
        "fn": {"count": sweep.missed, "of": sweep.defects},
        "fppi": {"count": sweep.false_alarms, "of": sweep.images},
        "escape": {"count": sweep.escaped, "of": sweep.defective},
        "overkill": {"count": sweep.overkilled, "of": sweep.defect_free},
    }


def _classes(sweep: Sweep) -> list[dict[str, Any]]:
    """Each class with its thresholds, for each seed one list over the steps, to the digits that are shown."""
    return [
        {"name": name, "seeds": [[_short(score) for score in seed[name]] for seed in sweep.by_class]}
        for name in sweep.by_class[0]
    ]


def _short(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
