"""`--help` answers at once: it loads no framework, nor what computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = sorted((Path(__file__).parents[1] / "tools").glob("*.py"))
HEAVY = {
    "torch", "torchvision", "ultralytics", "fiftyone", "cv2", "matplotlib", "mmdet", "detectron2", "numpy", "scipy",
    "PIL", "pycocotools", "jinja2", "rich",
}  # fmt: skip
LOADED = """
import runpy, sys
sys.argv = [{path!r}, "--help"]
{before}
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code
print("LOADED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def loaded(tool: Path, before: str = "") -> set[str]:
    code = LOADED.format(path=str(tool), before=before)
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOOLS[0].parents[1]
    )
    assert "usage:" in told.stdout
    return set(told.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.stem)
def test_help_loads_nothing_heavy(tool: Path) -> None:
    assert not loaded(tool) & HEAVY


def test_this_test_can_fail() -> None:
    assert "numpy" in loaded(TOOLS[0], before="import numpy") & HEAVY
