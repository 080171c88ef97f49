"""Whether the compiled reader and matcher are there. Everything works, and comes out the same, without them.

They are C sources in this folder, built when the package is installed on a machine that has a compiler.
`DEFECT_DETECT_PURE=1` in the environment leaves them unused.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType


def _load() -> ModuleType | None:
    if os.environ.get("DEFECT_DETECT_PURE") == "1":
        return None
    try:
        return importlib.import_module("defect_detect.native._compiled")
    except ImportError:
        return None


compiled = _load()
"""The extension module, or None."""
