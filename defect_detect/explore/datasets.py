"""Whose a dataset is: which belong to comparisons, to which folder, and whether they are complete."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from defect_detect.explore import service, strays
from defect_detect.explore.names import NAMESPACE, dataset_name

PARTIAL = "-partial-"
"""In the name of a dataset that is being written."""


def find(folder: Path) -> str | None:
    """The dataset of the comparison in `folder`, or None.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
    """
    with service.quiet():
        name, dataset = place(service.connect(), folder)
        return name if dataset is not None and complete(dataset) else None


def stored() -> dict[str, str]:
    """All complete datasets of comparisons: name -> the comparison's folder.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
    """
    with service.quiet():
        fiftyone = service.connect()
        found = ((name, _ours(fiftyone, name)) for name in fiftyone.list_datasets(f"{NAMESPACE}.*"))
        return {name: info["folder"] for name, info in found if info and info["complete"] and PARTIAL not in name}


def exports() -> dict[str, tuple[str, bool]]:
    """Datasets that an export hasn't finished: name -> the comparison's folder, and whether it is still being written.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
    """
    with service.quiet():
        fiftyone = service.connect()
        found = ((name, _ours(fiftyone, name)) for name in fiftyone.list_datasets(f"{NAMESPACE}.*{PARTIAL}*"))
        # What another machine writes can't be seen from here; it is taken to be at work.
        return {
            name: (info["folder"], info["host"] != os.uname().nodename or _alive(info["pid"]))
            for name, info in found if info
        }  # fmt: skip


def remove(folder: Path) -> str | None:
    """Delete the dataset of the comparison in `folder`, unfinished ones too, and return its name; None: there is none.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
    """
    with service.quiet():
        fiftyone = service.connect()
        name, dataset = place(fiftyone, folder)
        swept = sweep(fiftyone, folder)
        if dataset is None:
            return swept[0] if swept else None
        dataset.delete()
        return name


def owner(folder: Path) -> dict[str, Any]:
    """What marks a dataset, still incomplete, as the one of the comparison in `folder`."""
    return {"folder": str(folder.resolve()), "host": os.uname().nodename, "pid": os.getpid(), "complete": False}


def complete(dataset: Any) -> bool:
    """Whether one of our datasets was written to its end."""
    return bool(dataset.info[NAMESPACE]["complete"])


def place(fiftyone: ModuleType, folder: Path) -> tuple[str, Any | None]:
    """The first name for this folder that is free or its own, and the dataset there, if there is one."""
    number = 1
    while fiftyone.dataset_exists(name := dataset_name(folder, number)):
        info = _ours(fiftyone, name)
        if info is not None and info["folder"] == str(folder.resolve()):
            return name, fiftyone.load_dataset(name)
        number += 1
    return name, None


def unfinished(fiftyone: ModuleType, folder: Path, content: str) -> Any | None:
    """What an export of this folder with this content left behind when it was interrupted, to go on with."""
    for name in _abandoned(fiftyone, folder):
        dataset = fiftyone.load_dataset(name)
        if dataset.info[NAMESPACE]["content"] == content:
            return dataset
    return None


def sweep(fiftyone: ModuleType, folder: Path, but: Any | None = None) -> list[str]:
    """Delete what interrupted exports of this folder left behind, except one; returns their names."""
    found = [name for name in _abandoned(fiftyone, folder) if but is None or name != but.name]
    for name in found:
        strays.forget(fiftyone.load_dataset(name))
        fiftyone.delete_dataset(name)
    return found


def _abandoned(fiftyone: ModuleType, folder: Path) -> list[str]:
    """Datasets of this folder that are being written, by nobody who is alive; on this machine."""
    found = []
    for name in fiftyone.list_datasets(f"{NAMESPACE}.*{PARTIAL}*"):
        info = _ours(fiftyone, name)
        if info is None or info["folder"] != str(folder.resolve()) or info["host"] != os.uname().nodename:
            continue
        if info["pid"] == os.getpid() or not _alive(info["pid"]):
            found.append(name)
    return found


def _ours(fiftyone: ModuleType, name: str) -> dict[str, Any] | None:
    info = fiftyone.load_dataset(name).info.get(NAMESPACE)
    wanted = {"folder", "content", "complete", "host", "pid"}
    return info if isinstance(info, dict) and wanted <= info.keys() else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
