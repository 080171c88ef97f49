"""What frameworks raise and leave behind, made ours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from defect_detect.backends._memory import ran_out
from defect_detect.errors import DefectDetectError, RunFailed


@contextmanager
def translated(what: str, framework: str) -> Iterator[None]:
    """For `what` (training, prediction) the framework does.

    Raises:
        RunFailed: it failed; errors of this package pass as they are.
    """
    try:
        yield
    except DefectDetectError:
        raise
    except Exception as error:
        hint = " Try a smaller `batch` or `image_size`." if ran_out(error) else ""
        raise RunFailed(f"{what} by {framework} failed: {type(error).__name__}: {error}{hint}") from error


@contextmanager
def scratch(out: Path, framework: str) -> Iterator[Path]:
    """A folder in the run folder for what the framework can't be kept from writing; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f".{framework}_", dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
