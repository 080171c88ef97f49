"""Which detector misses the fewest defects on your parts, and why.

The public names are imported when they are first used, so that `import defect_detect` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defect_detect.data.coco import load
    from defect_detect.data.normalize import normalize
    from defect_detect.data.predictions import read as read_predictions
    from defect_detect.errors import DefectDetectError, Fault, InputError, NotMeasurable, Unreachable
    from defect_detect.evaluation.compare import compare
    from defect_detect.evaluation.comparison import Comparison
    from defect_detect.evaluation.judged import Contender, Evaluation, Judged, Matching, Rule, Run
    from defect_detect.evaluation.matching import evaluate, match
    from defect_detect.evaluation.operating import parse_policy, threshold
    from defect_detect.tables import Category, Dataset, Defects, Images, Polygons, Predictions, Rle

_HOME = {
    "Category": "tables",
    "Comparison": "evaluation.comparison",
    "Contender": "evaluation.judged",
    "Dataset": "tables",
    "DefectDetectError": "errors",
    "Defects": "tables",
    "Evaluation": "evaluation.judged",
    "Fault": "errors",
    "Images": "tables",
    "InputError": "errors",
    "Judged": "evaluation.judged",
    "Matching": "evaluation.judged",
    "NotMeasurable": "errors",
    "Polygons": "tables",
    "Predictions": "tables",
    "Rle": "tables",
    "Rule": "evaluation.judged",
    "Run": "evaluation.judged",
    "Unreachable": "errors",
    "compare": "evaluation.compare",
    "evaluate": "evaluation.matching",
    "load": "data.coco",
    "match": "evaluation.matching",
    "normalize": "data.normalize",
    "parse_policy": "evaluation.operating",
    "read_predictions": "data.predictions:read",
    "threshold": "evaluation.operating",
}

__all__ = [
    "Category",
    "Comparison",
    "Contender",
    "Dataset",
    "DefectDetectError",
    "Defects",
    "Evaluation",
    "Fault",
    "Images",
    "InputError",
    "Judged",
    "Matching",
    "NotMeasurable",
    "Polygons",
    "Predictions",
    "Rle",
    "Rule",
    "Run",
    "Unreachable",
    "compare",
    "evaluate",
    "load",
    "match",
    "normalize",
    "parse_policy",
    "read_predictions",
    "threshold",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, other = _HOME[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), other or name)


def __dir__() -> list[str]:
    return __all__
