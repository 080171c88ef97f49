"""The examples in docstrings say what the code says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "defect_detect"
MODULES = sorted(
    "defect_detect." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed


def test_the_public_evaluator_shows_how_it_is_used() -> None:
    for name in ("matching", "froc", "missed", "operating", "reasons", "localization", "agreement", "compare"):
        assert f"defect_detect.evaluation.{name}" in MODULES
