import os

import pytest

# Before anything imports numpy or torch: test processes run side by side, each on one thread.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that the workers end together."""
    slow = ("framework", "fiftyone", "browser")
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in slow))
