"""Our figures as custom metrics of FiftyOne's evaluations.

The operators that FiftyOne's panel offers are in `metrics.py`; they ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from defect_detect.errors import ConfigError, Fault
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.lrp import lrp
from defect_detect.evaluation.missed import rates, scored
from defect_detect.explore import columns
from defect_detect.explore.names import PLUGIN
from defect_detect.tables import Floats

TITLES: Mapping[str, tuple[str, str]] = {
    "fn_rate": ("FN rate", "Share of the defects that no prediction at the operating point finds"),
    "fn_rate_any_class": ("FN rate, any class", "The same where a prediction of a wrong class finds a defect too"),
    "escape_rate": ("Escape rate", "Share of the defective parts on which there is no alarm at all"),
    "overkill_rate": ("Overkill rate", "Share of the defect-free parts on which there is an alarm"),
    "fppi": ("FPPI", "False alarms for each picture"),
    "olrp": ("oLRP", "Misses, false alarms and loose boxes in one error, at the best threshold of each class"),
}
"""Metric -> its title, and what it says."""


def uri(name: str) -> str:
    """The operator's address."""
    return f"{PLUGIN}/{name}"


def value(judged: Judged, name: str) -> float | None:
    """One of TITLES; None where there is nothing to count."""
    if name == "olrp":
        whole = lrp([judged])
        return None if whole is None else whole.olrp
    return rates(scored(judged.evaluation), judged.threshold)[name].value


def told(judged: Judged) -> dict[str, dict[str, Any]]:
    """All of TITLES, as FiftyOne's results keep custom metrics; one without a denominator isn't said."""
    return {
        uri(name): {"key": name, "value": found, "label": title, "lower_is_better": True}
        for name, (title, _) in TITLES.items()
        if (found := value(judged, name)) is not None
    }


def of_stored(where: Mapping[str, Any], thresholds: Callable[[Sequence[str]], Floats]) -> Judged:
    """The run of a stored comparison (folder, detector, seed) at the thresholds (K,) of these classes.

    It is judged by the comparison's files: its dataset lacks some of the predictions under the threshold.

    Raises:
        InputError: the comparison's folder is gone.
        ConfigError: the comparison has no such run any more.
    """
    held = columns.load(Path(where["folder"]))
    vector = thresholds([category.name for category in held.truth.categories])
    for one in held.contenders:
        for run in one.runs:
            if (one.name, run.seed) == (where["detector"], where["seed"]):
                entrant = columns.at(held, {one.name: (vector,) * len(one.runs)})[0]
                return entrant.judged[one.runs.index(run)]
    raise ConfigError(
        Fault(where=where["folder"], expected=f"{where['detector']} seed {where['seed']}", found="no such run")
    )
