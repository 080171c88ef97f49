"""The members of a large JSON list or object, a few at a time: what is wrong with some is said without holding all."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from defect_detect.data import parsing
from defect_detect.data.marks import members, named
from defect_detect.errors import InputError

_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*(.)", re.DOTALL)


def is_list(raw: bytes) -> bool:
    """Whether the text, if it is JSON, is a list."""
    return _opens(raw) == b"["


def entries(
    raw: bytes, *, where: str, error: type[InputError], literals: Counter[str] | None = None
) -> Iterator[Any]:  # fmt: skip
    """The entries of a list that `parsing.check` passed.

    Raises:
        InputError: of the class `error`: a key twice in one object, or an entry that is too much to take apart.
    """
    for start, end in members(raw):
        yield from parsing.build(b"[" + raw[start:end] + b"]", where=where, error=error, literals=literals)


def keys(raw: bytes) -> Iterator[str]:
    """The keys of an object that `parsing.check` passed; those of other JSON are none."""
    if _opens(raw) == b"{":
        for start, end in named(raw):
            yield json.loads(raw[start:end])


def _opens(raw: bytes) -> bytes:
    found = _FIRST.match(raw)
    return b"" if found is None else found[1]
