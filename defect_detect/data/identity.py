"""Ids as people's exports have them: one form for 7, "7" and 7.0."""

from __future__ import annotations

import re
from typing import Any

Key = int | str
_LARGEST = 2**63
_LONGEST = 20
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def key(value: Any) -> Key | None:
    """The id in its one form: whole numbers as int, other text as it is; None where it can't be an id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else str(value)
    if isinstance(value, float):
        return key(int(value)) if value.is_integer() else None
    if isinstance(value, str):
        number = value.strip()
        if _NUMBER.fullmatch(number) and abs(int(number)) < _LARGEST:
            return int(number)
        return clean(value) or None
    return None


def clean(text: str) -> str:
    """The text with lone surrogates (from JSON escapes) spelt out, so that it can be written again."""
    return text.encode("utf-8", "backslashreplace").decode()


def oddity(value: Any) -> str:
    """The name of the repair that the id takes, or ``."""
    if isinstance(value, float):
        return "id as a float"
    if isinstance(value, str) and isinstance(key(value), int):
        return "id as a string"
    return ""


def order(value: Key) -> tuple[bool, int, str]:
    """A sort key: numbers by size, then text; what we called `#9` before `#10`."""
    if isinstance(value, int):
        return (False, value, "")
    counted = value[1:] if value.startswith("#") and value[1:].isdecimal() and len(value) < _LONGEST else "0"
    return (True, int(counted), value)
