"""What a stranger's network config may name: parts of mmdet and its kin, nothing else that Python could call.

mmengine builds `{"type": "os.mkdir", "path": ...}` by importing and calling it, imports whatever module a plain
name is one of, and mmcv evaluates the type of a suppression as an expression: a config of plain values would
run code as surely as a pickle. Of what is registered, a few parts read or evaluate what their own values say.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

_SCOPES = ("mmdet", "mmcv", "mmengine")
_PACKAGES = (*_SCOPES, "torch", "torchvision", "defect_detect")
_KINDS = (
    "MODELS", "TASK_UTILS", "TRANSFORMS", "WEIGHT_INITIALIZERS", "OPTIMIZERS", "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS", "PARAM_SCHEDULERS", "HOOKS", "LOG_PROCESSORS",
)  # fmt: skip
_RUN = {
    "CameraMotionCompensation": ("warp_mode", "evaluates it"),
    "KnowledgeDistillationSingleStageDetector": ("teacher_config", "reads the config of that name"),
    "Detectron2Wrapper": ("detector", "loads the pickle that it names"),
    "RFSearchHook": ("config", "evaluates its operators"),
}
"""Parts that run what a value of theirs says; `tests/test_mmdet_trust.py` holds this against mmdet's source."""
_HOOKS = (
    "CheckInvalidLossHook", "EMAHook", "EarlyStoppingHook", "EmptyCacheHook", "MeanTeacherHook", "NumClassCheckHook",
    "PipelineSwitchHook", "SetEpochInfoHook", "SyncBuffersHook", "SyncNormHook", "YOLOXModeSwitchHook",
)  # fmt: skip
"""Hooks that write no files and load none."""
_STORES = ("torchvision://", "open-mmlab://", "openmmlab://", "mmcls://")
"""Names of weights that frameworks publish, not addresses."""


def unknown(content: Any) -> str | None:
    """The first `type` within that is no part of mmdet's, or one that runs what its values say; None: there is none."""
    for part in _parts(content):
        if part.get("_scope_") not in (None, *_SCOPES):  # mmengine imports it
            return repr(part["_scope_"])[:80]
        if "type" not in part:
            continue
        name = part["type"]
        if not isinstance(name, str) or not _is_known(name):
            return repr(name)[:80]
        value, _ = _RUN.get(name.rpartition(".")[2], ("", ""))
        if value and not (name.endswith("SingleStageDetector") and isinstance(part.get(value), dict)):
            return repr(name)
    return None


def brought(before: Any, after: Any) -> str | None:
    """What an override has no right to bring, in words: code, hooks that write, addresses; None: it doesn't."""
    had = {str(_names(part)) for part in _parts(before)}
    new = [part for part in map(_names, _parts(after)) if str(part) not in had]
    if (name := unknown(new)) is not None:
        return f"the type {name}, which is no part of mmdet's"
    for hook in after.get("custom_hooks") or []:
        if hook not in (before.get("custom_hooks") or []) and hook.get("type") not in _HOOKS:
            return f"the hook {hook.get('type')!r}, which may write or load files"
    texts = set(_texts(before))
    for text in _texts(after):
        if "://" in text and text not in texts and not text.startswith(_STORES):
            return f"the address {text[:80]!r}, which is never fetched"
    return None


def foreign(content: Any) -> str | None:
    """The first `type` within that another package registered; None: there is none."""
    for part in _parts(content):
        for kind in _registered(str(part.get("type")).rpartition(".")[2]):
            if kind.__module__.partition(".")[0] not in _PACKAGES:
                return repr(part["type"])
    return None


def _names(part: Any) -> dict[str, Any]:
    return {key: part[key] for key in ("type", "_scope_") if key in part}


def _is_known(name: str) -> bool:
    """Whether it is registered, or leads nowhere; operators and kinds of layers have plain names too."""
    from mmcv import ops

    scope, _, inner = name.rpartition(".")
    if _registered(inner):
        return scope in ("", *_SCOPES)
    if name in ops.__all__:  # the type of a suppression
        return True
    return name.isidentifier() and importlib.util.find_spec(name) is None  # else mmengine would import that module


def _registered(name: str) -> list[Any]:
    from mmdet import registry
    from mmengine.registry import root

    places = [getattr(place, kind).module_dict for place in (registry, root) for kind in _KINDS if hasattr(place, kind)]
    return [place[name] for place in places if name in place]


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    """All mappings, the outer before the inner."""
    if isinstance(content, dict):
        yield content
        content = list(content.values())
    if isinstance(content, list | tuple):
        for value in content:
            yield from _parts(value)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)
