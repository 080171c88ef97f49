"""Files that somebody else wrote and that can run code: refused, or trusted by their hash."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from defect_detect.backends._progress import UNREADABLE
from defect_detect.errors import ConfigError, Fault

_NAMED = 5


def unsafe(path: Path, trust: str, reason: str) -> Any:
    """What the file at `path` holds, which loading without running code refused for `reason`.

    `trust`: the SHA-256 of the file that the user trusts. The bytes that are hashed are those that are loaded.

    Raises:
        ConfigError: the file is not that one, or can't be read at all.
    """
    import torch

    try:
        content = path.read_bytes()
        wanted = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    except UNREADABLE as error:
        raise ConfigError(unreadable(path, reason)) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != trust:
        if not wanted:
            raise ConfigError(unreadable(path, reason))
        more = f" and {len(wanted) - _NAMED} more" if len(wanted) > _NAMED else ""
        raise ConfigError(
            Fault(
                where="weights", expected="a file of tensors",
                found=f"{path}, a pickle that can run any code as it is loaded: it asks for"
                f" {', '.join(wanted[:_NAMED])}{more}",
                fix="Have its weights saved as a plain state dict. Only if you know who wrote it:"
                f" --trust-checkpoint {digest}",
            )
        )  # fmt: skip
    print(f"{path} is loaded with whatever code it carries: its SHA-256 {digest} is trusted")  # noqa: T201  the log
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(unreadable(path, reason.partition("\n")[0])) from error


def agreed(files: Sequence[Path], trust: str, *, where: str, flag: str) -> None:
    """Pass where the user trusts these config files, which are programs: `trust` is their SHA-256, given by `flag`.

    It is the file's own where there is one, else that of the files' digests one after the other.

    Raises:
        ConfigError: it is not.
    """
    digests = [hashlib.sha256(file.read_bytes()) for file in files]
    whole = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(one.digest() for one in digests))
    if whole.hexdigest() == trust:
        print(f"{', '.join(map(str, files))}: run as trusted, SHA-256 {trust}")  # noqa: T201  the log
        return
    raise ConfigError(
        Fault(
            where=where, expected="a config of the framework's own, or one that you trust",
            found=f"{', '.join(map(str, files))}: a program that can run any code as it is read",
            fix=f"Read it all. Only if you know what it does: {flag} {whole.hexdigest()}",
        )
    )  # fmt: skip


def unreadable(path: Path, reason: str) -> Fault:
    """That no weights can be had from the file, for `reason`."""
    return Fault(
        where="weights", expected="pretrained | none | path of a checkpoint", found=f"{path}: {reason}",
        fix="Check the path, or train from scratch with --set weights=none",
    )  # fmt: skip
