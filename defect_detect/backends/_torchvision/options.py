"""What `options:` of a torchvision config may hold: typed, and unknown keys refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec

from defect_detect.errors import ConfigError, Fault, did_you_mean

T = TypeVar("T", bound=msgspec.Struct)
_COMMON = ("score_thresh", "detections_per_img", "box_score_thresh", "box_detections_per_img")


class Augment(msgspec.Struct, frozen=True, kw_only=True):
    """How training pictures are varied."""

    flip: bool = True
    """Left-right and up-down, each in half of the pictures."""
    turn: bool = False
    """By a quarter, in half of the pictures; for surfaces without an up."""
    light: float = 0.2
    """Contrast varies by up to this share, brightness by up to this share of the range."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor of a random zoom about a random place."""


class Optimizer(msgspec.Struct, frozen=True, kw_only=True):
    """How weights follow the gradient."""

    name: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float | None = None
    """None: 0.05 for AdamW, 0.0005 for SGD. Norms and biases are left out."""
    momentum: float = 0.9
    """Of SGD."""
    clip: float = 5.0
    """Gradients are scaled down to this norm."""
    warmup: float = 1.0
    """Epochs over which the learning rate rises, before its cosine descent to a hundredth."""


class SsdParts(msgspec.Struct, frozen=True, kw_only=True):
    """How an SSD differs from torchvision's own."""

    fine: bool = False
    """Detect on a finer feature map too: stride 8 before SSDLite's, stride 4 before SSD300's."""
    width: float = 1.0
    """Share of the backbone's channels."""
    norm: Literal["auto", "batch", "none"] = "auto"
    """SSD300: batch norm in VGG; auto: only from scratch, where VGG hardly learns without it."""
    anchor_sizes: tuple[tuple[float, ...], ...] | None = None
    """px at the network's input (root of the area), a list per feature map, as many maps as lists. None:
    torchvision's anchors; for fine or narrow ones two and three strides of each map."""
    anchor_ratios: tuple[float, ...] = (2.0,)
    """Beside squares, anchors this much wider than high and higher than wide."""
    trainable_layers: int | None = None
    """Backbone stages that given weights leave free to learn; None: torchvision's choice."""
    least_negatives: int = 16
    """Background anchors that every image teaches, also one without defects."""


class MaskRcnnParts(msgspec.Struct, frozen=True, kw_only=True):
    """How a Mask R-CNN differs from torchvision's own."""

    norm: Literal["auto", "batch", "frozen", "group"] = "auto"
    """Of the backbone; auto: batch from scratch, frozen batch norm from given weights."""
    layers: tuple[int, ...] = (1, 2, 3, 4)
    """ResNet stages that feed the pyramid; stage k has stride 2^(k+1)."""
    fpn_channels: int = 256
    box_head: int = 1024
    """Width of its two layers."""
    mask_layers: tuple[int, ...] = (256, 256, 256, 256)
    """Channels of the mask branch's convolutions."""
    anchor_sizes: tuple[tuple[float, ...] | float, ...] | None = None
    """px at the network's input: of every pyramid level (one more than `layers`)."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height / width."""
    trainable_layers: int | None = None
    """Backbone stages that given weights leave free to learn; None: 3, and all 5 from scratch."""


P = TypeVar("P", SsdParts, MaskRcnnParts)


class Options(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """All of `options:`."""

    parts: P
    arguments: Mapping[str, Any]
    """Keyword arguments of torchvision's own model class, passed verbatim."""
    augment: Augment
    optimizer: Optimizer


def read(options: Mapping[str, Any], parts: type[P], model: type) -> Options[P]:
    """The options of a job; `model` is the torchvision class that is built.

    Raises:
        ConfigError: keys that nothing understands, or values of the wrong type; all of them.
    """
    faults: list[Fault] = []
    _unknown("options", options, ("model", "augment", "optimizer"), faults)
    sections = {name: _mapping(options, name, faults) for name in ("model", "augment", "optimizer")}
    verbatim: list[str] = [name for name in _arguments(model) if name not in _fields(parts)]
    _unknown("options.model", sections["model"], (*_fields(parts), *verbatim), faults)
    own = {key: value for key, value in sections["model"].items() if key in _fields(parts)}
    read_parts = _convert("options.model", own, parts, faults)
    augment = _convert("options.augment", sections["augment"], Augment, faults)
    optimizer = _convert("options.optimizer", sections["optimizer"], Optimizer, faults)
    if faults:
        raise ConfigError(*faults)
    arguments = {key: value for key, value in sections["model"].items() if key not in own}
    return Options(parts=read_parts, arguments=arguments, augment=augment, optimizer=optimizer)


def _fields(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return kind.__struct_fields__


def _arguments(model: type) -> list[str]:
    """Names of the plain numbers that the model's constructor takes."""
    fixed = (*_COMMON, "min_size", "max_size")
    parameters = inspect.signature(model).parameters.values()
    return [p.name for p in parameters if isinstance(p.default, int | float) and p.name not in fixed]


def _mapping(options: Mapping[str, Any], name: str, faults: list[Fault]) -> Mapping[str, Any]:
    value = options.get(name) or {}
    if isinstance(value, Mapping):
        return value
    faults.append(Fault(where=f"options.{name}", expected="a mapping", found=repr(value)))
    return {}


def _unknown(where: str, given: Mapping[str, Any], known: Iterable[str], faults: list[Fault]) -> None:
    known = tuple(known)
    for key in given:
        if key in known:
            continue
        fix = did_you_mean(str(key), known)
        if key in _COMMON:
            fix = "Set score_floor and max_detections of the config instead: they are the same for all detectors"
        faults.append(Fault(where=where, expected=" | ".join(known), found=repr(key), fix=fix))


def _convert(where: str, given: Mapping[str, Any], kind: type[T], faults: list[Fault]) -> T:
    try:
        return msgspec.convert({key: given[key] for key in given if key in _fields(kind)}, kind, strict=True)
    except msgspec.ValidationError as error:
        faults.append(Fault(where=where, expected="a value of the right type", found=str(error)))
        return kind()
