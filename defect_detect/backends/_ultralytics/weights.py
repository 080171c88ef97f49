"""Where a training's first weights come from: a file at hand, one download, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defect_detect.backends._trust import unsafe
from defect_detect.backends._ultralytics import network as networks
from defect_detect.data.files import sha256_file
from defect_detect.errors import ConfigError, Fault, FrameworkMissing, RunFailed

_PATIENCE = 20.0
"""Seconds without an answer after which the download is given up."""


def initialize(network: Any, weights: str, name: str, trust: str = "") -> str:
    """Load `weights` (`pretrained`, `none`, a path) into `network`; what they are, for the record.

    `name` is ultralytics' name of the model, `yolo11n-seg`. Layers whose shapes differ (the classes)
    stay untrained. A file is loaded without running code from it, but for the one whose SHA-256 is `trust`.

    Raises:
        FrameworkMissing: pretrained weights that are neither at hand nor to be downloaded.
        ConfigError: the path holds no weights that fit, or code.
    """
    if weights == "none":
        return "none"
    path = fetch(f"{name}.pt") if weights == "pretrained" else Path(weights).expanduser()
    if not path.is_file():
        fault = Fault(where="weights", expected="pretrained | none | the path of a checkpoint", found=str(weights))
        raise ConfigError(fault)
    donor = _donor(path, trust)
    network.load(donor, verbose=False)
    offered, taken = donor.state_dict(), network.state_dict()
    fit = sum(name in offered and offered[name].shape == value.shape for name, value in taken.items())
    if fit < len(taken) / 2:
        found = f"{path}, of which only {fit} of {len(taken)} arrays fit"
        raise ConfigError(Fault(where="weights", expected=f"weights of {name}", found=found))
    return f"{path.name} sha256:{sha256_file(path)}"


def _donor(path: Path, trust: str) -> Any:
    from ultralytics.nn.tasks import torch_safe_load

    try:
        return networks.load(path)[0]
    except RunFailed:
        pass  # not ours: ultralytics' own
    try:
        content, _ = torch_safe_load(str(path), safe_only=True)
    except Exception as error:  # noqa: BLE001  whatever a file of any kind makes of its loader
        content = unsafe(path, trust, str(error).partition("\n")[0])
    model = content.get("ema") or content.get("model") if isinstance(content, dict) else None
    if model is None or not hasattr(model, "state_dict"):
        raise ConfigError(Fault(where="weights", expected="a checkpoint with a model", found=str(path)))
    return model.float()


def fetch(file: str) -> Path:
    """The file of pretrained weights, downloaded where it isn't at hand.

    Raises:
        FrameworkMissing: it can't be downloaded.
    """
    for folder in _folders():
        if (folder / file).is_file():
            return folder / file
    from ultralytics.utils.downloads import GITHUB_ASSETS_REPO, attempt_download_asset

    return _download(file, GITHUB_ASSETS_REPO, _release(attempt_download_asset))


def _folders() -> Iterator[Path]:
    """Where such files lie already: here, where the user told ultralytics, and where torch keeps downloads."""
    import torch

    yield Path.cwd()
    yield Path.cwd() / "weights"
    config = Path(os.environ.get("YOLO_CONFIG_DIR") or os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # no settings, or not such ones
        yield Path(json.loads((config / "Ultralytics" / "settings.json").read_text(encoding="utf-8"))["weights_dir"])
    yield Path(torch.hub.get_dir()) / "checkpoints"


def _release(download: Any) -> str:
    """The release of the weights that go with the installed version, as its own downloader has it."""
    import inspect

    return str(inspect.signature(download).parameters["release"].default)


def _download(file: str, repository: str, release: str) -> Path:
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    address = f"https://github.com/{repository}/releases/download/{release}/{file}"
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(folder / file), progress=False)
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        fix = f"Put {file} there or here, set weights to its path, or train from scratch: --set weights=none"
        found = f"not in {folder}, and {address} gave: {error}"
        raise FrameworkMissing(Fault(where="weights: pretrained", expected=file, found=found, fix=fix)) from error
    finally:
        socket.setdefaulttimeout(before)
    return folder / file
