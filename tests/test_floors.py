"""Imports point down only, and importing the package loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "defect_detect"

# DESIGN's floors. The first prefix that fits a module names its floor.
FLOORS = {
    "errors": 0,
    "tables": 0,
    "native": 0,
    "geometry": 1,
    "masks": 1,
    "ranking": 1,
    "data": 1,
    "job": 1,
    "holding": 1,
    "logged": 1,
    "space": 4,
    "sealing": 4,
    "verifying": 5,
    "resuming": 1,
    "evaluation.comparison": 2,
    "evaluation.judged": 2,
    "evaluation.kernels": 2,
    "evaluation.matching": 2,
    "backends": 2,
    "config": 2,
    "installed": 2,
    "evaluation": 3,
    "report": 4,
    "explore": 4,
    "runner": 4,
    "watching": 4,
    "worker": 4,
    "doctor": 4,
    "environments": 4,
    "folder": 4,
    "facts": 4,
    "trials": 4,
    "given": 4,
    "auditing": 4,
    "plugins": 4,
    "gating": 5,
    "judging": 5,
    "comparing": 5,
    "options": 5,
}
APART = (("evaluation", "backends"), ("backends", "evaluation"), ("runner", "worker"), ("report", "explore"))
HEAVY = ("torch", "torchvision", "ultralytics", "fiftyone", "cv2", "matplotlib", "mmdet", "detectron2")


def floor(module: str) -> int:
    fitting = [prefix for prefix in FLOORS if module == prefix or module.startswith(prefix + ".")]
    assert fitting, f"{module} stands on no floor: give it one in FLOORS and in docs/architecture.md"
    return FLOORS[max(fitting, key=len)]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    names = {name.removeprefix("defect_detect.") for name in found if name.startswith("defect_detect.")}
    return {name for name in names if module_exists(name)}


def module_exists(name: str) -> bool:
    place = PACKAGE / name.replace(".", "/")
    return place.with_suffix(".py").exists() or place.is_dir()


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py" and "plugin" not in path.parts
    ]


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_down_only(name: str, path: Path) -> None:
    for other in imported(path):
        assert floor(other) <= floor(name), f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"
        for here, there in APART:
            assert not (top(name) == here and top(other) == there), f"{name} imports {other}"


def top(module: str) -> str:
    return module.partition(".")[0]


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module", ["defect_detect", "defect_detect.comparing", "defect_detect.worker", "defect_detect.runner"]
)
def test_importing_loads_no_framework(module: str) -> None:
    assert not loaded_after(f"import {module}") & set(HEAVY)


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_nothing_imports_the_plugins_of_frameworks(name: str, path: Path) -> None:
    """They import their framework at their top; only its users, and each other's shared part, import them."""
    assert name.startswith("plugins.") or not any(other.startswith("plugins") for other in imported(path))


def test_this_test_can_fail() -> None:
    assert "cv2" in loaded_after("import cv2")


def test_no_module_is_a_junk_drawer() -> None:
    names = {path.name for _, path in modules()}
    assert not names & {"utils.py", "helpers.py", "common.py", "base.py", "core.py"}
