"""`python -I -m defect_detect.worker RUN`: does the one job of a run folder. The only side that imports a framework.

In:   RUN/job.json
Out:  RUN/result.json, written once, whole, at the very end (`Trained` | `Predicted` | `Failed`);
      RUN/log.txt, all that the framework prints; JSON lines of `Progress` on standard output.

`--check FRAMEWORK` says in one JSON line which of its requirements are missing, without importing them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import hashlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from defect_detect import backends, installed, job, resuming
from defect_detect.data import coco, pixels, predictions, tiling, untiling
from defect_detect.data.files import FULL, atomic_write, sha256_file
from defect_detect.errors import FrameworkMissing, InputError, RunFailed, Unsupported
from defect_detect.tables import Dataset, Predictions
from defect_detect.watching import Watching


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="Do the job of a run folder (started by the runner).")
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--check", metavar="FRAMEWORK")
    arguments = parser.parse_args()
    _die_with_parent()
    if arguments.check:
        print(json.dumps(_checked(arguments.check)))  # noqa: T201 - the answer
        return
    if arguments.run is None:
        parser.error("a run folder is needed")
    out: Path = arguments.run
    wire = os.fdopen(os.dup(1), "wb")
    result: job.Result
    try:
        _log_to(out / "log.txt")
        text = (out / "job.json").read_bytes()
        task = job.decode_job(text)
        watch = Watching(wire, out)
        result = _train(task, out, watch) if isinstance(task, job.TrainJob) else _predict(task, out, watch)
    except KeyboardInterrupt:
        print("interrupted; the same job goes on after the last epoch that was kept")  # noqa: T201 - the log
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - whatever it was, the parent must hear of it
        with contextlib.suppress(OSError):  # the log's disk may be full
            traceback.print_exc()
        result = job.Failed(kind=_kind(error), message=_message(error), traceback=traceback.format_exc())
    try:
        atomic_write(out / "result.json", job.encode(result))
    except OSError as error:
        failed = result if isinstance(result, job.Failed) else job.Failed(kind="failed", message=_message(error))
        wire.write(msgspec.json.encode(failed) + b"\n")
        wire.flush()
        sys.exit(1)
    if isinstance(result, job.Trained):
        resuming.clear(out)


def _checked(framework: str) -> dict[str, Any]:
    if framework not in backends.names():  # of a package that isn't in this interpreter
        return {"missing": [], "unknown": True}
    return {"missing": installed.missing(framework), "versions": installed.versions(framework)}


def _train(task: job.TrainJob, out: Path, watch: Watching) -> job.Trained:
    backend = _backend(task.framework)
    root = out / task.dataset
    train, val = coco.load(root, "train"), coco.load(root, "val")
    for data in (train, val):
        _same(data, task.fingerprints.get(data.split, ""))
    fingerprints, versions = {"train": train.fingerprint, "val": val.fingerprint}, installed.versions(task.framework)
    watch.watch(task, val, resuming.identity(task, fingerprints, versions))
    watch.say(job.Progress(stage="start", epochs=task.settings.epochs))
    outcome = backend.train(task, train=train, val=val.without_truth(), out=out, watch=watch)
    expected = (len(train.images), int(train.defect_free.sum()))
    if (outcome.images_seen, outcome.defect_free_seen) != expected:
        msg = (
            f"{task.framework} trained on {outcome.images_seen} images ({outcome.defect_free_seen} defect-free), but"
            f" the train split has {expected[0]} ({expected[1]}); such a training is not comparable with others"
        )
        raise RunFailed(msg)
    return job.Trained(
        outcome=outcome,
        history=watch.history(),
        checkpoint_sha256=sha256_file(out / outcome.checkpoint),
        dataset_fingerprints=fingerprints,
        versions=versions,
        resumed=watch.resumed,
        seconds=watch.seconds,
        peak_memory_bytes=_peak_memory(),
    )


def _predict(task: job.PredictJob, out: Path, watch: Watching) -> job.Predicted:
    started = time.monotonic()
    home = out / task.trained
    trained_job = job.decode_job((home / "job.json").read_bytes())
    trained = job.decode_result((home / "result.json").read_bytes())
    if not isinstance(trained_job, job.TrainJob) or not isinstance(trained, job.Trained):
        raise RunFailed(f"{home} holds no finished training")
    checkpoint = home / trained.outcome.checkpoint
    if (found := sha256_file(checkpoint)) != trained.checkpoint_sha256:
        raise RunFailed(f"{checkpoint} is not the checkpoint that was trained: SHA-256 {found} was recorded otherwise")
    if task.checkpoint_sha256 not in ("", trained.checkpoint_sha256):
        raise RunFailed(f"{home} was trained again since this prediction was asked for")
    data = coco.load(out / task.dataset, task.split)
    _same(data, task.fingerprint)
    watch.say(job.Progress(stage="start", of=len(data.images)))
    said, how = _backend(trained_job.framework).predict(
        trained_job, checkpoint, data.without_truth(), device=task.device, batch=task.batch, watch=watch
    )
    _check(said, data, trained_job.settings)
    seconds = how.latency
    if task.whole:
        tiles, data = data, coco.load(out / task.whole, task.split)
        _same(data, task.whole_fingerprint)
        began = time.perf_counter()
        said = untiling.whole(said, tiles, data, most=trained_job.settings.max_detections)
        seconds = untiling.latency(seconds, tiles, data, time.perf_counter() - began)
        _check(said, data, trained_job.settings)
    predictions.write(out / "predictions.json", said, data)
    digest = sha256_file(out / "predictions.json")
    manifest = job.Manifest(
        detector=trained_job.detector,
        framework=trained_job.framework,
        model=trained_job.model,
        family=backends.capabilities(trained_job.framework, trained_job.model).family,
        seed=trained_job.seed,
        versions=installed.versions(trained_job.framework),
        checkpoint_sha256=trained.checkpoint_sha256,
        dataset_fingerprint=data.fingerprint,
        split=task.split,
        images_sha256=hashlib.sha256("\n".join(data.images.file).encode()).hexdigest(),
        images=len(data.images),
        categories=[category.name for category in data.categories],
        score_floor=trained_job.settings.score_floor,
        max_detections=trained_job.settings.max_detections,
        decode_policy=pixels.DECODE_POLICY,
        tiling=tiling.words(trained_job.tiling if task.whole else None),
        nms_iou=how.nms_iou,
        input_size=how.input_size,
        initial_weights=trained.outcome.initial_weights,
        masks=trained.outcome.masks,
        epochs=trained.history.epochs,
        images_seen=trained.outcome.images_seen,
        defect_free_seen=trained.outcome.defect_free_seen,
        stopped_early=trained.history.stopped_early,
        under_trained=trained.history.under_trained,
        resumed=trained.resumed,
        halved=[*trained.outcome.halved, *how.halved],
        predictions_sha256=digest,
    )
    atomic_write(out / "manifest.json", job.encode(manifest))
    latency = np.array(seconds)
    return job.Predicted(
        predictions="predictions.json",
        predictions_sha256=digest,
        manifest="manifest.json",
        seconds=time.monotonic() - started,
        peak_memory_bytes=_peak_memory(),
        latency_p50=float(np.quantile(latency, 0.5)) if len(latency) else None,
        latency_p95=float(np.quantile(latency, 0.95)) if len(latency) else None,
    )


def _same(data: Dataset, fingerprint: str) -> None:
    if fingerprint not in ("", data.fingerprint):
        raise RunFailed(f"the {data.split} split of {data.root} changed since this job was made")


def _check(said: Predictions, data: Dataset, settings: job.Settings) -> None:
    """Hold a backend to the contract: a figure from predictions that break it would be wrong."""
    size = data.images.size[said.image]
    inside = (said.box >= 0).all(axis=1) & (said.box[:, 2:] <= size + 1e-6).all(axis=1)
    most = np.bincount(said.image, minlength=1).max()
    promises = {
        "finite boxes and scores": np.isfinite(said.box).all() and np.isfinite(said.score).all(),
        "boxes inside their image": inside.all(),
        "boxes wider and higher than 0": (said.box[:, 2:] > said.box[:, :2]).all(),
        f"scores in [{settings.score_floor}, 1]": ((said.score >= settings.score_floor) & (said.score <= 1)).all(),
        f"at most {settings.max_detections} predictions an image": most <= settings.max_detections,
        "labels of the dataset": ((said.label >= 0) & (said.label < len(data.categories))).all(),
    }
    broken = [promise for promise, kept in promises.items() if not kept]
    if broken:
        raise RunFailed("the backend broke its contract: " + "; ".join(broken))


def _backend(framework: str) -> backends.Backend:
    if lacking := installed.missing(framework):
        ours = framework in backends.shipped()
        bring = f"python tools/make_env.py {framework}" if ours else f"pip install {' '.join(lacking)}"
        raise FrameworkMissing(
            f"{framework} needs {', '.join(lacking)}, not installed in {sys.executable}. Install it with: {bring}"
        )
    return backends.load(framework)


def _kind(error: Exception) -> str:
    if isinstance(error, FrameworkMissing):
        return "unavailable"
    if isinstance(error, Unsupported):
        return "unsupported"
    return "input" if isinstance(error, InputError) else "failed"


def _message(error: Exception) -> str:
    if isinstance(error, (InputError, RunFailed)):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return (f"no room: {error.strerror}: {error.filename or 'a file of the run'}. Make room and run the same"
                " command again; what was finished is kept")  # fmt: skip
    return f"{type(error).__name__}: {error}"


def _peak_memory() -> int:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    torch: Any = sys.modules.get("torch")
    on_gpu = torch.cuda.max_memory_allocated() if torch is not None and torch.cuda.is_available() else 0
    return int(own + on_gpu)


def _log_to(path: Path) -> None:
    """Send everything printed, by C code too, to `path`, and all stacks when SIGUSR1 asks for them."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)  # a training that goes on has one already
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)


def _die_with_parent() -> None:
    """End with the process that started us, whatever ends it (Linux: PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        # It may have ended before the line above took effect.
        if os.environ.get(job.PARENT, str(os.getppid())) != str(os.getppid()):
            sys.exit("the process that started this worker is gone")


if __name__ == "__main__":
    main()
