"""yapf's grammar in the user's cache, which mmengine imports: in two processes at once, and after a kill on the way."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from defect_detect.backends._mmdet import grammar

pytestmark = [
    pytest.mark.framework,
    pytest.mark.skipif(importlib.util.find_spec("yapf") is None, reason="mmdet is not installed"),
]
LOAD = "from defect_detect.backends._mmdet import grammar; grammar.load(); import yapf; print(yapf.__version__)"


def loading(cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", LOAD], env=os.environ | {"XDG_CACHE_HOME": str(cache)}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def test_one_waits_for_the_other(tmp_path: Path) -> None:
    with grammar._alone():
        waiting = loading(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.communicate(timeout=3)
        assert not list(tmp_path.rglob("*.pickle"))
    said, errors = waiting.communicate(timeout=120)
    assert (waiting.returncode, bool(said)) == (0, True), errors
    assert len(list(tmp_path.rglob("*.pickle"))) == 2


def test_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    loading(tmp_path).communicate(timeout=120)
    kept = list(tmp_path.rglob("*.pickle"))
    assert len(kept) == 2
    whole = [file.read_bytes() for file in kept]
    for left in (0, 100):
        for file, content in zip(kept, whole, strict=True):
            file.write_bytes(content[:left])
            os.utime(file, (2**32, 2**32))
        process = loading(tmp_path)
        said, errors = process.communicate(timeout=120)
        assert (process.returncode, bool(said)) == (0, True), errors
        assert [len(file.read_bytes()) for file in kept] == [len(content) for content in whole]
