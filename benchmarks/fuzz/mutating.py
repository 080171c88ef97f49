"""Made-up values and mutated trees of JSON, for the harnesses of this folder."""

from __future__ import annotations

import copy
import json
from typing import Any, Protocol

TEXTS = [
    "", " ", "a", "1", "1.0", "nan", "null", "../p1.png", "/etc/passwd", "C:\\x\\p.png", "p1.png", "images/p1.png",
    "test", "train", "<script>", "=1+1", "\x1b[31m", "[red]", "\ud800", "\0", "b'PP'", "PP", "0", "true miss",
    "unlabelled defect", "borderline", "label error", "predict", "trained", "score=0.5", "fppi<=0.1", "x" * 300,
]  # fmt: skip
NUMBERS = [
    0, 1, 2, 3, -1, 60, 40, 0.5, -0.0, 1e300, -1e300, float("nan"), float("inf"), 2**31, 2**53, 2**53 + 1, 2**63, 2**64,
    10**400, 1e-300, 1e308, -(2**63),
]  # fmt: skip


class Source(Protocol):
    """What atheris.FuzzedDataProvider gives."""

    def ConsumeIntInRange(self, low: int, high: int) -> int: ...  # noqa: D102, N802 - atheris's name
    def ConsumeFloat(self) -> float: ...  # noqa: D102, N802 - atheris's name
    def ConsumeUnicode(self, count: int) -> str: ...  # noqa: D102, N802 - atheris's name
    def ConsumeBool(self) -> bool: ...  # noqa: D102, N802 - atheris's name
    def PickValueInList(self, values: list[Any]) -> Any: ...  # noqa: D102, N802 - atheris's name


def value(data: Source, depth: int = 0) -> object:
    """Any JSON value, with a liking for those that hurt."""
    kind = data.ConsumeIntInRange(0, 9 if depth < 2 else 6)
    if kind in (7, 8):
        return [value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 5))]
    if kind > 8:
        return {data.PickValueInList(TEXTS): value(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))}
    leaves = (
        lambda: data.PickValueInList(NUMBERS),
        lambda: data.PickValueInList(NUMBERS),
        data.ConsumeFloat,
        lambda: data.PickValueInList(TEXTS),
        lambda: data.PickValueInList(TEXTS),
        lambda: data.ConsumeUnicode(12),
        lambda: data.PickValueInList([None, True, False]),
    )
    return leaves[kind]()


def mutated(data: Source, tree: Any, *, most: int = 4) -> Any:
    """A copy of the tree with some values replaced, repeated, removed, exchanged or added."""
    made = copy.deepcopy(tree)
    for _ in range(data.ConsumeIntInRange(1, most)):
        made = _once(data, made)
    return made


def text(tree: Any) -> bytes:
    """The tree as JSON (NaN, lone surrogates and all)."""
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _once(data: Source, tree: Any) -> Any:
    spots = _spots(tree)
    if not spots:
        return value(data)
    holder, key = spots[data.ConsumeIntInRange(0, len(spots) - 1)]
    match data.ConsumeIntInRange(0, 7):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case 2:
            other, there = spots[data.ConsumeIntInRange(0, len(spots) - 1)]
            holder[key] = copy.deepcopy(other[there])
        case 3 if isinstance(holder, dict):
            holder[data.PickValueInList(TEXTS)] = value(data)
        case 4 if isinstance(holder[key], int | float) and abs(holder[key]) < 1e100:
            holder[key] = holder[key] * data.PickValueInList([-1, 2, 0.5, 1e9]) + data.PickValueInList([0, 1, -1])
        case _:
            holder[key] = value(data)
    return tree


def _spots(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of the tree."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        for key in keys:
            found.append((node, key))
            waiting.append(node[key])
    return found
