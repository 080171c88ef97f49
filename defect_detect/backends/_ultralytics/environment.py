"""ultralytics made quiet: no settings file kept, nobody called, nothing installed, the job's own threads."""

from __future__ import annotations

import logging
import os
import tempfile

from defect_detect.errors import Fault, FrameworkMissing

_SWITCHES = {
    "YOLO_OFFLINE": "1",  # else the import looks two hosts up to see whether there is a network
    "YOLO_AUTOINSTALL": "false",  # else a missing requirement is installed with pip
    "YOLO_VERBOSE": "false",  # else the import says where the settings are that are gone a moment later
    "ULTRALYTICS_SAFE_LOAD": "1",  # else .pt files are unpickled with whatever code they carry
}
_OFF = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def start(threads: int) -> int:
    """Import ultralytics and give torch `threads` CPU threads; how many it has now.

    0 takes what OMP_NUM_THREADS says, else all cores of this process. ultralytics writes a settings
    file when it is imported, by which it sends usage statistics, sets OMP_NUM_THREADS to 1, and puts
    itself into `PIL.Image.open`, where a picture that can't be read becomes a missing package: the
    settings go to a folder that is gone when this returns, and the rest is as before.

    Raises:
        FrameworkMissing: ultralytics, or something it needs, can't be imported.
    """
    from PIL import Image

    opener = Image.open
    told = os.environ.get("OMP_NUM_THREADS", "")
    count = threads or (int(told) if told.isdigit() else 0) or len(os.sched_getaffinity(0))
    os.environ.update(_SWITCHES)
    before = {name: os.environ.get(name) for name in ("YOLO_CONFIG_DIR", "OMP_NUM_THREADS")}
    with tempfile.TemporaryDirectory(prefix="defect_detect_") as folder:
        os.environ["YOLO_CONFIG_DIR"] = folder
        try:
            import torchvision  # noqa: F401  its compiled NMS is used only where it is already imported
            from ultralytics.utils import LOGGER, SETTINGS

            if SETTINGS.file.is_relative_to(folder):  # else a call before this one turned them off
                SETTINGS.file.parent.mkdir(parents=True, exist_ok=True)
                SETTINGS.update(dict.fromkeys(_OFF, False))
        except ImportError as error:
            fix = "Install it: pip install 'defect-detect[ultralytics]'"
            fault = Fault(where="framework ultralytics", expected="installed", found=str(error), fix=fix)
            raise FrameworkMissing(fault) from error
        finally:
            Image.open = opener
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
    LOGGER.setLevel(logging.WARNING)  # its progress bars follow the level
    use_threads(count)
    return count


def use_threads(count: int) -> None:
    """Give torch `count` CPU threads; when it selects the CPU, ultralytics takes all cores but one."""
    import torch

    torch.set_num_threads(count)
