"""Weights that a training starts from."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from defect_detect.errors import ConfigError, Fault


def enough(filled: Container[str], network: Any, *, source: str, model: str, whose: str) -> None:
    """Pass where a file fills at least half of the tensors of the network's backbone.

    Heads may differ: they tell other classes apart. A backbone that stays random would be called pretrained.

    Args:
        filled: names of the tensors that fit.
        network: theirs.
        source: the file, for the error.
        model: what was to be filled.
        whose: whose files would do.

    Raises:
        ConfigError: it doesn't.
    """
    backbone = [name for name in network.state_dict() if name.startswith("backbone.")]
    found = sum(name in filled for name in backbone)
    if found * 2 < len(backbone):
        raise ConfigError(
            Fault(
                where=f"weights {source}", expected=f"weights of {model}",
                found=f"{found} of {len(backbone)} backbone tensors that fit",
                fix=f"Give a checkpoint of the same model and options, or a file of {whose}",
            )
        )  # fmt: skip
