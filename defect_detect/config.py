"""A detector's config: YAML in, typed values out, every mistake named at once.

    framework: torchvision
    model: ssd300_vgg16
    epochs: 120          # any field of `job.Settings`
    options: {}          # passed to the framework verbatim

The file's name is the detector's name. Values aren't coerced: `epochs: "120"` is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from defect_detect import backends
from defect_detect.data import safe_yaml
from defect_detect.errors import ConfigError, Fault, did_you_mean
from defect_detect.job import Settings

_SETTINGS: dict[str, msgspec.structs.FieldInfo] = {field.name: field for field in msgspec.structs.fields(Settings)}
_KEYS = ("framework", "model", "options", *_SETTINGS)
_POSITIVE = ("epochs", "image_size", "batch", "patience", "max_detections")
_NOT_NEGATIVE = ("workers", "threads")
_LARGEST = 1_000_000
_MOST_THREADS = 4096
_CONSENT = ("trust_checkpoint", "trust_config")
"""Given on the command line only: a file that may be a stranger's can't vouch for another."""
_SHA256 = re.compile(r"([0-9a-f]{64})?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class DetectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One detector as its config describes it."""

    name: str
    framework: str
    model: str
    settings: Settings
    options: dict[str, Any]


def read(path: Path, overrides: Sequence[str] = ()) -> DetectorConfig:
    """The config at `path`, with `key=value` overrides laid over it (`options.lr=0.1` reaches inside).

    Raises:
        ConfigError: everything that is wrong with it.
    """
    if not path.exists():
        raise ConfigError(
            Fault(where=str(path), expected="a detector config", found="no such file", fix=_shipped(path))
        )
    content = safe_yaml.read(path, error=ConfigError)
    if not isinstance(content, dict):
        raise ConfigError(Fault(where=str(path), expected="a mapping", found=type(content).__name__,
                                fix="Write `framework: ...` and `model: ...`, as the shipped configs do."))  # fmt: skip
    vouching = [
        Fault(where=f"{path}: {key}", expected="given on the command line only", found="this key",
              fix=f"Remove it, or, where you know who wrote what it vouches for, give --{key.replace('_', '-')}.")
        for key in _CONSENT if key in content
    ]  # fmt: skip
    if vouching:
        raise ConfigError(*vouching)
    for override in overrides:
        _override(content, override)
    return _typed(content, path)


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(Fault(where=f"--set {override}", expected="key=value", found="no '='"))
    value = safe_yaml.parse(text, where=f"--set {override}", error=ConfigError)
    *path, last = key.split(".")
    target = content
    for step in path:
        inner = target.setdefault(step, {})
        if not isinstance(inner, dict):
            raise ConfigError(Fault(where=f"--set {override}", expected=f"a mapping at {step!r}", found=repr(inner)))
        target = inner
    target[last] = value


def _typed(content: Mapping[str, Any], path: Path) -> DetectorConfig:
    values, faults = _settings(content, path)
    faults = _unknown(content, path) + faults + _out_of_range(values, path)
    options = content.get("options") or {}
    if not isinstance(options, dict):
        faults.append(Fault(where=f"{path}: options", expected="a mapping", found=repr(options),
                            fix="Write `options: {name: value}`."))  # fmt: skip
    framework, model = content.get("framework"), content.get("model")
    for key, value in (("framework", framework), ("model", model)):
        if not isinstance(value, str):
            faults.append(Fault(where=f"{path}: {key}", expected="a name", found=repr(value),
                                fix=f"Write `{key}: NAME`, as the shipped configs do."))  # fmt: skip
    if isinstance(framework, str) and isinstance(model, str):
        try:
            backends.capabilities(framework, model)
        except ConfigError as error:
            faults += [_at(path, fault) for fault in error.faults]
    if not _NAME.fullmatch(path.stem):
        faults.append(Fault(where=str(path), expected="a file name of letters, digits, _ . -", found=path.stem,
                            fix="Rename the config: it is the detector's name."))  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    return DetectorConfig(
        name=path.stem, framework=str(framework), model=str(model), settings=Settings(**values), options=dict(options)
    )


def _unknown(content: Mapping[str, Any], path: Path) -> list[Fault]:
    faults = []
    for key in content:
        if key not in _KEYS:
            fix = did_you_mean(str(key), _KEYS) or "What the framework alone knows goes under `options:`."
            expected = "one of " + ", ".join(_KEYS)
            faults.append(Fault(where=f"{path}: {key}", expected=expected, found="this key", fix=fix))
    return faults


def _settings(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[Fault]]:
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, field in _SETTINGS.items():
        if name in content:
            try:
                values[name] = msgspec.convert(content[name], field.type)
            except msgspec.ValidationError as error:
                faults.append(Fault(where=f"{path}: {name}", expected=_words(field.type), found=str(error),
                                    fix=_example(name)))  # fmt: skip
    return values, faults


def _out_of_range(values: Mapping[str, Any], path: Path) -> list[Fault]:
    faults = []
    for name, value in values.items():
        expected = ""
        if name in _POSITIVE and not 1 <= value < _LARGEST:
            expected = "at least 1" if value < 1 else f"less than {_LARGEST:,}"
        elif name in _NOT_NEGATIVE and not 0 <= value < _MOST_THREADS:
            expected = "0 or more" if value < 0 else f"less than {_MOST_THREADS:,}"
        elif name == "score_floor" and not 0 <= value < 1:
            expected = "0 <= score_floor < 1"
        elif name == "learning_rate" and value is not None and not value > 0:
            expected = "more than 0"
        elif name == "device" and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            expected = "auto | cpu | cuda | cuda:N"
        elif name in _CONSENT and not _SHA256.fullmatch(value):
            expected = "the SHA-256 of a file, 64 hexadecimal digits in lower case"
        if expected:
            faults.append(Fault(where=f"{path}: {name}", expected=expected, found=repr(value), fix=_example(name)))
    return faults


def _example(name: str) -> str:
    default = _SETTINGS[name].default
    return f"Such as: {name}: {'null' if default is None else str(default).lower() or repr('')}."


def _words(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if choices := get_args(kind) if get_origin(kind) is Literal else ():
        return " | ".join(choices)
    return words.get(kind, "a number or null")


def _at(path: Path, fault: Fault | str) -> Fault:
    if isinstance(fault, str):
        return Fault(where=str(path), expected="a config", found=fault)
    fix = fault.fix or "Choose one of them."
    return Fault(where=f"{path}: {fault.where}", expected=fault.expected, found=fault.found, fix=fix)


def _shipped(path: Path) -> str:
    folder = Path(__file__).parents[1] / "configs"
    found = sorted(str(p.relative_to(folder.parent)) for p in folder.glob("*/*.yaml"))
    near = difflib.get_close_matches(path.name, [Path(name).name for name in found], n=1)
    close = [name for name in found if near and Path(name).name == near[0]]
    if close:
        return f"Did you mean {close[0]}?"
    return f"Shipped: {', '.join(found)}" if found else ""
