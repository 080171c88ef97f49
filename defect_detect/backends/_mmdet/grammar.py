"""yapf, which mmengine imports to write configs, imported safely.

It keeps its grammar as a pickle in the user's cache, written in place by whoever imports it first. Two that do so at
once read halves of it, and one that is killed on the way leaves a half behind, for ever: `EOFError: Ran out of input`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

_DAMAGED = (EOFError, pickle.UnpicklingError, ValueError, LookupError, AttributeError, TypeError)


def load() -> None:
    """Import yapf, one process at a time; what is damaged of its cache is made anew.

    Raises:
        ImportError: it isn't installed.
    """
    with _alone():
        try:
            importlib.import_module("yapf")
        except _DAMAGED:
            for file in _kept():
                file.unlink(missing_ok=True)
            importlib.import_module("yapf")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Locked by the folder of its package, which all that share it have in common; where that can't be, not."""
    found = importlib.util.find_spec("yapf_third_party")
    places = found.submodule_search_locations if found is not None else None
    with contextlib.ExitStack() as stack:
        if places:
            with contextlib.suppress(OSError):
                handle = os.open(places[0], os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _kept() -> list[Path]:
    from platformdirs import user_cache_path

    return list(user_cache_path("YAPF", "Google").rglob("*.pickle"))
