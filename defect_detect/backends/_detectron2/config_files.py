"""detectron2's YAML configs: those of its zoo by name, and a user's own, which must not run code or reach the network.

detectron2 itself reads every config with `yaml.unsafe_load` where the safe loader refuses (its zoo writes anchors
as `!!python/object/apply:eval`), and fetches a `_BASE_` that is an address. Only files of the installed zoo are
read so here; others hold plain values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defect_detect.data import safe_yaml
from defect_detect.errors import ConfigError, Fault, Unsupported

_BASE = "_BASE_"
_DEEPEST = 10
_VERSION = 2


def zoo() -> Path:
    """The folder of detectron2's own configs."""
    import detectron2

    return Path(detectron2.__file__).parent / "model_zoo" / "configs"


def find(given: str, *, where: str = "options.config", beside: Path | None = None) -> Path:
    """The file that `given` names: a path (from `beside` on, where it is relative), else a config of the zoo.

    Raises:
        ConfigError: there is no such file.
        Unsupported: it is Python.
    """
    if Path(given).suffix == ".py":
        raise Unsupported(
            Fault(where=where, expected="a YAML config", found=given, fix="Python configs (LazyConfig) are programs and"
                  " are not run. Most of the zoo is there as YAML too.")
        )  # fmt: skip
    places = ((beside or Path()) / Path(given).expanduser(), zoo() / given)
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        fix = "Give the path of a YAML file, or a name below detectron2's configs/ folder"
        fix += " (COCO-Detection/retinanet_R_50_FPN_1x.yaml). Addresses are not fetched."
        raise ConfigError(Fault(where=where, expected="a config of detectron2's", found=repr(given), fix=fix))
    return path


def zoo_name(path: Path) -> str | None:
    """What the zoo calls the config, None where it is another's."""
    place = path.resolve()
    return place.relative_to(zoo().resolve()).as_posix() if zoo().resolve() in place.parents else None


def content(path: Path, *, depth: int = 0) -> dict[str, Any]:
    """The keys and values of a config, with those of its `_BASE_` beneath them.

    Raises:
        ConfigError: no YAML of plain values, or a base that isn't there.
        Unsupported: a base that is Python, or a config of another version.
    """
    if zoo_name(path) is not None:
        from detectron2.config import CfgNode

        return dict(CfgNode.load_yaml_with_base(str(path), allow_unsafe=True))
    given = safe_yaml.read(path, error=ConfigError)
    if not isinstance(given, dict):
        raise ConfigError(Fault(where=str(path), expected="a mapping", found=type(given).__name__))
    if depth > _DEEPEST:
        raise ConfigError(Fault(where=f"{path}: {_BASE}", expected="configs that end", found=f"{depth} one on another"))
    bases = given.pop(_BASE, [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases or []:
        below = find(str(base), where=f"{path}: {_BASE}", beside=path.parent)
        _lay(content(below, depth=depth + 1), merged)
    _lay(given, merged)
    if merged.get("VERSION", _VERSION) != _VERSION:
        fix = f"Let detectron2 rewrite it: get_cfg(), merge_from_file('{path.name}'), dump()"
        raise Unsupported(Fault(where=f"{path}: VERSION", expected="2", found=str(merged["VERSION"]), fix=fix))
    return merged


def _lay(over: dict[str, Any], under: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _lay(value, under[key])
        else:
            under[key] = value
