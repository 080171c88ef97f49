"""What was last set in an open panel, whatever order its events come in.

Every event brings the panel's state along as the browser knew it when it began. While answers are on their way that
may be an older one, and its figures would overwrite newer ones. So what was set is kept here too, and wins.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from typing import Any

SESSION = "session"
GROUPS = ("settings", "listing")
"""Groups that the layout makes of the state; their settings have names of their own."""
OPEN = 200
"""So many open panels are remembered."""


def begin(ctx: Any) -> None:
    """A panel was opened: what is set in it from now on is remembered."""
    session = uuid.uuid4().hex
    with _LOCK:
        _set[session] = {}
        while len(_set) > OPEN:
            del _set[next(iter(_set))]
    ctx.panel.set_state(SESSION, session)


def put(ctx: Any, path: str, value: Any, *, told: bool = False) -> None:
    """Set something, by its path in the panel's state; `told`: the App itself set it, and isn't told again."""
    with _LOCK:
        _set.get(str((ctx.panel_state or {}).get(SESSION)), {})[path.rpartition(".")[2]] = value
    if not told:
        ctx.panel.set_state(path, value)


def state(ctx: Any) -> dict[str, Any]:
    """Everything that is set, by its name; nothing where no panel asks."""
    # FiftyOne's context has no such attribute where no panel asks.
    told = dict(getattr(ctx, "panel_state", None) or {})
    for group in GROUPS:
        inner = told.get(group)
        told |= inner if isinstance(inner, Mapping) else {}
    with _LOCK:
        return told | _set.get(str(told.get(SESSION)), {})


_LOCK = threading.RLock()
_set: dict[str, dict[str, Any]] = {}
