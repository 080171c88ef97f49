"""Files of arrays as detectron2's zoo has them: pickles, of which nothing but dicts, text, numbers and arrays is built.

The classes that such a pickle names are answered by those below, written in Python: numpy's own trust the flags
and shapes that a pickle gives them.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

_KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def load(path: Path) -> Any:
    """What the file holds, arrays as numpy's.

    Raises:
        pickle.UnpicklingError: it asks for something else.
        OSError, ValueError, and what a damaged pickle raises: it can't be read.
    """
    with path.open("rb") as file:
        return _plain(_Unpickler(file, encoding="latin1").load())


class _Kind:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in _KINDS:
            raise pickle.UnpicklingError(f"arrays of {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"arrays in the order {state[1]!r}")
        self.value = self.value.newbyteorder(state[1])


class _Array:
    """Stands for `numpy.ndarray`."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, content = state
        self.value = _filled(content, kind, shape, "F" if by_columns else "C")


def _begun(*_: Any) -> _Array:
    """Stands for `numpy.core.multiarray._reconstruct`."""
    return _Array()


def _whole(content: Any, kind: Any, shape: Any, order: str) -> _Array:
    """Stands for `numpy._core.numeric._frombuffer`."""
    array = _Array()
    array.value = _filled(content, kind, shape, order)
    return array


def _encoded(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, by which Python 2 reads bytes that Python 3 wrote."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text as {encoding!r}")
    return text.encode("latin1")


def _none() -> bytes:
    """Stands for `bytes`, which is called where there are none."""
    return b""


def _filled(content: Any, kind: Any, shape: Any, order: str) -> Any:
    raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
    if not isinstance(kind, _Kind) or len(raw) != math.prod(shape) * kind.value.itemsize or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array that is not as long as its shape says")
    native = np.frombuffer(raw, kind.value).reshape(tuple(shape), order=order)  # type: ignore[call-overload]
    return native.astype(kind.value.newbyteorder("="))


class _Unpickler(pickle.Unpickler):
    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Kind, ("_codecs", "encode"): _encoded,
        ("collections", "OrderedDict"): dict, ("builtins", "bytes"): _none, ("__builtin__", "bytes"): _none,
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _begun for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _whole for core in ("core", "_core")},
    }  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}, which is no array") from None


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value
