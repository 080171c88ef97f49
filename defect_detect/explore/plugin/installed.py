"""The plugin in the folder where FiftyOne looks for plugins: two small files that load the installed defect_detect.

Nobody else's plugin is touched: a folder of that name is ours only if its `fiftyone.yml` names our plugin.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from defect_detect.data.files import atomic_write
from defect_detect.errors import ConfigError, Fault
from defect_detect.explore import service
from defect_detect.explore.names import PLUGIN

FOLDER = "defect_detect"
FILES = ("fiftyone.yml", "__init__.py")
_ENTRY = Path(__file__).parent / "entry"


def plugins() -> Path:
    """Where FiftyOne looks for plugins: what FIFTYONE_PLUGINS_DIR or its configuration says.

    Raises:
        FrameworkMissing: FiftyOne or its database can't be had.
    """
    return Path(service.connect().config.plugins_dir)


def install(plugins: Path) -> Path:
    """Put the plugin into FiftyOne's plugins folder, or bring it up to date there. Returns its folder.

    Raises:
        ConfigError: somebody else's plugin lies there, or the folder can't be written to.
    """
    place = plugins / FOLDER
    if place.exists() and not _is_ours(place):
        raise ConfigError(
            Fault(
                where=str(place), expected=f"nothing, or the plugin {PLUGIN}", found="something else",
                fix="Move it away, or name another folder of plugins by FIFTYONE_PLUGINS_DIR.",
            )
        )  # fmt: skip
    try:
        place.mkdir(parents=True, exist_ok=True)
        # The definition last: FiftyOne takes a folder for a plugin once it has one.
        for name in reversed(FILES):
            content = (_ENTRY / name).read_bytes()
            if not (place / name).is_file() or (place / name).read_bytes() != content:
                atomic_write(place / name, content)
    except OSError as error:
        raise ConfigError(
            Fault(
                where=str(place), expected="a folder that can be written to", found=error.strerror or str(error),
                fix="Name another folder of plugins by FIFTYONE_PLUGINS_DIR.",
            )
        ) from error  # fmt: skip
    return place


def remove(plugins: Path) -> Path | None:
    """Take the plugin out again. Returns where it was; None where it wasn't."""
    place = plugins / FOLDER
    if not place.is_dir() or not _is_ours(place):
        return None
    for name in FILES:
        (place / name).unlink(missing_ok=True)
    shutil.rmtree(place / "__pycache__", ignore_errors=True)
    if not any(place.iterdir()):
        place.rmdir()
    return place


def _is_ours(place: Path) -> bool:
    """Whether the folder is empty or holds our plugin."""
    if not place.is_dir():
        return False
    try:
        said: Any = yaml.safe_load((place / FILES[0]).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return not any(one.name not in (*FILES, "__pycache__") for one in place.iterdir())
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(said, dict) and said.get("name") == PLUGIN
