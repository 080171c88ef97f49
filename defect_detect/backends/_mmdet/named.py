"""What a stranger's network config may name: parts of mmdet and its kin, nothing else that Python could call.

mmengine builds `{"type": "os.mkdir", "path": ...}` by importing and calling it, and mmcv evaluates the type of a
suppression as an expression: a config of plain values would run code as surely as a pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SCOPES = ("mmdet", "mmcv", "mmengine")


def unknown(content: Any) -> str | None:
    """The first `type` within that is no plain name, nor a registered one behind its scope; None where all are."""
    for name in _types(content):
        if not (isinstance(name, str) and (name.isidentifier() or _is_registered(name))):
            return repr(name)[:80]
    return None


def _is_registered(name: str) -> bool:
    from mmdet import registry
    from mmengine.registry import root

    scope, _, inner = name.partition(".")
    kinds = ("MODELS", "TASK_UTILS", "TRANSFORMS")
    return scope in _SCOPES and any(
        inner in getattr(place, kind).module_dict for place in (registry, root) for kind in kinds
    )


def _types(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        if "type" in content:
            yield content["type"]
        for value in content.values():
            yield from _types(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _types(value)
