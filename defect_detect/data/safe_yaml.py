"""YAML of strangers: nothing is built but plain values, no key twice, nothing that grows when it is written out.

PyYAML keeps the last of two equal keys, and lets a file of 1 KiB stand for a billion values by naming one list
many times. So names for values (anchors) are allowed, using them again (aliases) is not.
"""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import Any

import yaml

from defect_detect.errors import Fault, InputError

MAX_BYTES = 1 << 20
MAX_DEPTH = 50


def read(path: Path, *, error: type[InputError]) -> Any:
    """The value of a YAML file.

    Raises:
        InputError: of the class `error`: no readable file of at most 1 MiB, or not such YAML.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_BYTES:
            found = "something else" if not stat.S_ISREG(facts.st_mode) else f"{facts.st_size:,} bytes"
            raise error(Fault(where=str(path), expected="a file of at most 1 MiB", found=found, fix="Give another."))
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        found, fix = str(problem), "It has to be YAML in UTF-8."
        raise error(Fault(where=str(path), expected="a readable file", found=found, fix=fix)) from None
    return parse(text, where=str(path), error=error)


def parse(text: str, *, where: str, error: type[InputError]) -> Any:
    """The value of the text.

    Raises:
        InputError: of the class `error`: not YAML, a key twice, an alias, a tag of Python, or something that JSON
            has no word for (a date, a set, bytes, a number that isn't finite, a key that isn't text or a number).
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
        _plain(value, 0)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as problem:
        found = " ".join(str(problem).split())[:1000]
        raise error(Fault(where=where, expected="YAML", found=found, fix="Mend it there.")) from None
    return value


def _plain(value: Any, depth: int) -> None:
    """Raises `ValueError` for what JSON can't hold."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str | int):
                raise ValueError(f"the key {str(key)[:80]!r}, which is neither text nor a number")  # noqa: TRY004 - of a file
            _plain(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the number {value}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of more than 64 bits")
    elif not (value is None or isinstance(value, str | int | float)):
        raise ValueError(f"a {type(value).__name__}: put it in quotes if text is meant")


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"the alias *{event.anchor}: write it out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
