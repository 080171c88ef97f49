"""Where JSON breaks, and how, said as exactly as Python's parser says it, without building what stands before.

msgspec checks the text in place and names a byte near the break. Of all before it only the brackets that are open
matter: they, and the text from the last comma on, are given to Python's parser, whose complaint is the one to show.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import msgspec

from defect_detect.data.marks import closed, opened

_BYTE = re.compile(r"\(byte (\d+)\)$")
_OPENS = re.compile(rb"[ \t\r\n]*[\[{]")
_MORE = 1 << 10
_CONTINUATIONS = bytes(range(0x80, 0xC0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Line and column, both from 1, the column in characters; and what is there."""

    line: int
    column: int
    found: str


def broken(raw: bytes) -> Break | None:
    """The first break of UTF-8 text of few levels; None where none was found, which doesn't say that there is none.

    NaN and Infinity are taken for numbers.
    """
    near = _near(raw)
    if near is None:
        return None
    at, over = near
    before, start = _before(raw, at, over=over)
    end = len(raw) if at >= len(raw) else min(at + _MORE, len(raw))
    rest = raw[start:end].decode("utf-8", "ignore")
    try:
        json.loads(before + rest)
    except json.JSONDecodeError as problem:
        place = problem.pos - len(before)
        at_end = place >= len(rest.rstrip()) or problem.msg.startswith("Unterminated string")
        if place < 0 or (at_end and end < len(raw)):
            return None
        offset = start + len(rest[:place].encode())
        line = raw.rfind(b"\n", 0, offset) + 1
        column = len(raw[line:offset].translate(None, _CONTINUATIONS)) + 1
        return Break(line=raw.count(b"\n", 0, offset) + 1, column=column, found=complaint(rest, place, problem.msg))
    except ValueError:  # a number of thousands of digits
        return None
    return None


def complaint(text: str, place: int, said: str) -> str:
    """What Python's parser `said` of the text at the place, in words for people."""
    if place >= len(text.rstrip()) or said.startswith("Unterminated string"):
        return "the end of the file: it is cut off"
    if text[:place].rstrip().endswith(",") and text[place] in "]}":
        return "a comma before a closing bracket"
    if said == "Extra data":
        return f"more after the end of the JSON: {text[place : place + 20]!r}"
    return f"{said.lower()} near {text[place : place + 20]!r}"


def _near(raw: bytes) -> tuple[int, bool] | None:
    """A byte at or soon after the first break, and whether the one value was over before it."""
    # Numbers of the same length, so that places stay. Within strings it changes nothing that matters here.
    for literal, number in ((b"NaN", b"0.0"), (b"Infinity", b"0.000000")):
        if literal in raw:
            raw = raw.replace(literal, number)
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except msgspec.DecodeError as problem:
        said = str(problem)
        named = _BYTE.search(said)
        return len(raw) if named is None else int(named[1]), "trailing characters" in said
    return None


def _before(raw: bytes, at: int, *, over: bool) -> tuple[str, int]:
    """The shortest text that opens what is open at the byte, and from where on the text follows it."""
    if over and _OPENS.match(raw):
        return "[]", closed(raw)
    still = [] if over else opened(raw, at)
    if not still:
        return "", 0
    outer = "".join("[" if raw[place] == ord("[") else '{"":' for place, _, _ in still[:-1])
    place, comma, shut = still[-1]
    if shut >= 0:
        return outer + ("[[]" if raw[place] == ord("[") else '{"":[]'), shut + 1
    if comma < 0:
        return outer, place
    return outer + ("[0" if raw[place] == ord("[") else '{"":0'), comma
