import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from defect_detect.data import demo, normalize
from tests.faults import cycles

QUICK = ["--set", "epochs=1", "image_size=64", "--resamples", "20", "--no-fiftyone"]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the smallest normalized dataset that can be judged."""
    source = demo.generate(tmp_path_factory.mktemp("small"), images=14, size=64, seed=3)
    return normalize.normalize(source, images=None, out=source.parent / "dataset").root


@pytest.fixture(scope="session")
def command(small: Path) -> cycles.Command:
    config = str(cycles.ROOT / "configs" / "baseline" / "classical.yaml")
    return cycles.Command(tool="compare", arguments=[str(small), "--detectors", config, *QUICK])


@pytest.fixture(scope="session")
def reference(command: cycles.Command, tmp_path_factory: pytest.TempPathFactory) -> cycles.Reference:
    """What it leaves undisturbed, in a folder beside those of the tests."""
    return cycles.undisturbed(command, tmp_path_factory.mktemp("place"))


@pytest.fixture
def place(reference: cycles.Reference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as deep as the reference's, so that relative paths in jobs are alike; orphans are seen."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cycles.adopt_orphans()
    yield tmp_path_factory.mktemp("place")
    cycles.adopt_orphans(adopt=False)
