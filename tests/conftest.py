import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from defect_detect import installed
from defect_detect.errors import FrameworkMissing

# Before anything imports numpy or torch: test processes run side by side, each on one thread.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A shell's background job ignores Ctrl-C, and so would every tool that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No test may reach the databases of the person who runs it.
os.environ["FIFTYONE_DATABASE_DIR"] = tempfile.mkdtemp(prefix="defect-detect-mongo-")
os.environ["DEFECT_DETECT_CACHE"] = tempfile.mkdtemp(prefix="defect-detect-cache-")
os.environ["FIFTYONE_DATABASE_NAME"] = f"defect-detect-test-{os.getpid()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that the workers end together."""
    slow = ("framework", "fiftyone", "browser")
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in slow))


@pytest.fixture(autouse=True)
def pillow_opens_pictures() -> Iterator[None]:
    """Fails the test that leaves ultralytics in `PIL.Image.open`, rather than others after it."""
    yield
    assert Image.open.__module__ == "PIL.Image", "import ultralytics through the fixture of this name"


@pytest.fixture(scope="session")
def ultralytics() -> None:
    """Imports ultralytics as the adapter does; else it would stay in `PIL.Image.open` for the tests that follow."""
    from defect_detect.backends._ultralytics import environment

    try:
        environment.start(1)
    except FrameworkMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def mmdet() -> None:
    """mmdet, mmengine and mmcv can be imported by their own names; by themselves, two processes at once can't."""
    if lacking := installed.missing("mmdet"):
        pytest.skip(f"mmdet is not installed: {', '.join(lacking)}")
    from defect_detect.backends._mmdet import environment

    environment.start(1)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small COCO export as a user has it: one file, pictures, masks, a third without defects."""
    from defect_detect.data import demo

    return demo.generate(tmp_path_factory.mktemp("export"), images=40, size=96, seed=3)


@pytest.fixture(scope="session")
def tiny(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the same, normalized and split."""
    from defect_detect.data import normalize

    out = tmp_path_factory.mktemp("tiny") / "dataset"
    return normalize.normalize(export, images=None, out=out).root


@pytest.fixture(scope="session")
def fiftyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """FiftyOne with a real MongoDB and a database of its own; FiftyOne reads the variables when imported."""
    from defect_detect.explore import service

    own = {
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("mongo")),
        "FIFTYONE_DATABASE_NAME": f"test-{uuid.uuid4().hex[:12]}",
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    module = service.connect()
    # ... unless another test of this process imported it earlier.
    assert module.config.database_name == own["FIFTYONE_DATABASE_NAME"]
    with service.quiet():
        yield module
        from fiftyone.core import odm

        odm.drop_database()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
