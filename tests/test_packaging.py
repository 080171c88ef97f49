"""What is installed of the package: modules, and all files that they read."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "defect_detect"
# What is read by people and compilers, not by the package.
NOT_READ = {".py", ".pyc", ".md", ".c", ".h", ".so"}

LISTED = """
import json, tomllib
from setuptools import Distribution, find_packages
asked = tomllib.load(open("pyproject.toml", "rb"))["tool"]["setuptools"]
packages = find_packages(**asked["packages"]["find"])
project = Distribution({"packages": packages, "package_data": asked["package-data"], "script_name": "setup.py"})
build = project.get_command_obj("build_py")
build.build_lib = "BUILD"
build.ensure_finalized()
print(json.dumps(build.get_outputs(include_bytecode=False)))
"""


@pytest.fixture(scope="module")
def installed() -> set[str]:
    """The files that setuptools puts into a wheel, without building one."""
    pytest.importorskip("setuptools")
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LISTED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.removeprefix("BUILD/") for name in json.loads(told.stdout.splitlines()[-1])}


def test_every_file_that_the_package_reads_is_installed(installed: set[str]) -> None:
    there = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    read = {name for name in there if Path(name).suffix not in NOT_READ and "__pycache__" not in name}

    assert {"defect_detect/py.typed", "defect_detect/explore/plugin/entry/fiftyone.yml"} < read
    assert read - installed == set()


def test_every_module_is_installed(installed: set[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}

    assert modules - installed == set()
    assert not [name for name in installed if not name.startswith("defect_detect/")]


def test_what_the_compiler_needs_is_in_a_source_distribution() -> None:
    named = (ROOT / "MANIFEST.in").read_text()
    headers = {path.parent.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.h")}

    assert headers == {"defect_detect/native"}
    assert "recursive-include defect_detect/native *.h" in named
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"] == ["setuptools>=77"]
