"""What a comparison asks before it spends hours: all that would end it later, said at once, within seconds."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from defect_detect import backends, folder, job, runner, space
from defect_detect.config import DetectorConfig
from defect_detect.data import coco
from defect_detect.errors import ConfigError, Fault, FrameworkMissing, InputError

_NAMED = ("pretrained", "none")
_ANSWERS_WITHIN = 60.0


def check(configs: Sequence[DetectorConfig], out: Path, seeds: Sequence[int], *, jobs: int) -> None:
    """Make sure that every detector's framework, weights and device are there, and room for what they leave in `out`.

    Whether frameworks really work is for `tools/doctor.py`; this imports one only where a GPU is asked for by name.

    Raises:
        FrameworkMissing: only frameworks are missing; ConfigError: anything else is amiss. All of it is named.
    """
    faults: list[Fault | str] = []
    kind: type[InputError] = FrameworkMissing
    with concurrent.futures.ThreadPoolExecutor() as pool:
        frameworks = sorted({made.framework for made in configs})
        missing = dict(zip(frameworks, pool.map(_missing, frameworks), strict=True))
        named = {made.framework for made in configs if made.settings.device.startswith("cuda")}
        asked = sorted(name for name in named if not missing[name])
        gpus = dict(zip(asked, pool.map(_gpus, asked), strict=True))
    for said in missing.values():
        faults += said
    rest: list[Fault | str] = [
        *(fault for made in configs for fault in _weights(made)),
        *(fault for made in configs for fault in _device(made, gpus.get(made.framework))),
    ]
    try:
        space.check(out, configs, seeds, jobs=jobs)
    except ConfigError as error:
        rest += error.faults
    if rest:
        kind = ConfigError
    if faults or rest:
        raise kind(*faults, *rest)


def fetch(configs: Sequence[DetectorConfig], seeds: Sequence[int], *, root: Path, out: Path, console: Console) -> None:
    """Bring the pretrained weights that trainings to come start from. `root` of the dataset; `out`: where they run.

    Raises:
        FrameworkMissing: all that can't be had, and what to do.
    """
    wanted = [
        made
        for made in configs
        if made.settings.weights == "pretrained"
        and not all((folder.run_folder(out, made.name, seed) / "result.json").exists() for seed in seeds)
        and backends.capabilities(made.framework, made.model).pretrained
    ]
    if not wanted:
        return
    masks = "yes" if coco.load(root, "train").has_masks else "no"
    # One at a time: several detectors may start from one file.
    faults: list[Fault | str] = []
    with console.status("") as status:
        for made in wanted:
            status.update(f"looking for the pretrained weights of {made.name}, or fetching them")
            asked = job.TrainJob(
                detector=made.name, framework=made.framework, model=made.model, dataset="", seed=0,
                settings=made.settings, options=made.options,
            )  # fmt: skip
            python = runner.python_of(made.framework)
            try:
                said = runner.ask(python, "-m", "defect_detect.doctor.fetching", job.encode(asked).decode(), masks)
            except FrameworkMissing:
                continue  # what ails it, the training will say in full
            faults += [f"{made.name}: {fault}" for fault in said.get("faults", [])]
    if faults:
        raise FrameworkMissing(*faults)


def _missing(framework: str) -> list[Fault | str]:
    try:
        runner.check(framework)
    except FrameworkMissing as error:
        return list(error.faults)
    return []


def _gpus(framework: str) -> int | None:
    """How many GPUs its torch can use; None: it can't be told."""
    try:
        told = runner.ask(
            runner.python_of(framework), "-m", "defect_detect.doctor.probe", "--torch", limit=_ANSWERS_WITHIN
        )
    except FrameworkMissing:
        return None
    return None if told.get("torch") is None else len(told["torch"]["gpus"])


def _weights(made: DetectorConfig) -> list[Fault]:
    given = made.settings.weights
    if given in _NAMED or Path(given).expanduser().is_file():
        return []
    return [Fault(where=f"weights of {made.name}", expected="pretrained | none | the path of a file", found=given,
                  fix="There is no such file.")]  # fmt: skip


def _device(made: DetectorConfig, gpus: int | None) -> list[Fault]:
    kind, _, index = made.settings.device.partition(":")
    if kind != "cuda" or gpus is None or int(index or 0) < gpus:
        return []
    return [Fault(where=f"device of {made.name}", expected="auto | cpu | the number of a GPU",
                  found=f"{made.settings.device!r} where torch can use {gpus} GPUs",
                  fix="Set --device auto, or see why: python tools/doctor.py.")]  # fmt: skip
