"""Starts workers and turns what becomes of them into a value or an error.

A job runs in a process of its own, in the Python that has its framework: the one running this, or
`ENVS/FRAMEWORK/bin/python` where there is one (`environments`). Memory is freed with the process, and one
framework's crash never costs another's result.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from defect_detect import backends, holding, job, resuming
from defect_detect.data.files import atomic_write, discard, sha256_file, sweep
from defect_detect.errors import ConfigError, FrameworkMissing, RunFailed, Unsupported, WorkerDied

Report = Callable[[job.Progress], None]

_GRACE = 10.0
"""Seconds that a worker gets to end after SIGTERM."""
STALLED_AFTER = 1800.0
"""Seconds without a word after which a worker counts as hung, unless asked otherwise."""
_TICK = 1.0
"""Seconds between looks at whether a silent worker still lives."""
_LOG_LINES = 15
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
              "CUDA_HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy",
              "http_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "DEFECT_DETECT_CACHE",
              "DEFECT_DETECT_PURE")  # fmt: skip


class Workers:
    """The workers that run now, so that whoever started them from threads can end them all.

    `stalled_after`: seconds without a word after which one counts as hung and is ended; 0: never.
    """

    def __init__(self, stalled_after: float = STALLED_AFTER) -> None:
        self.stalled_after = stalled_after
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def end(self) -> None:
        """End all, and refuse new ones."""
        self._ended = True
        for worker in tuple(self._running):
            _end(worker)

    @contextlib.contextmanager
    def watching(
        self, command: list[str], environment: Mapping[str, str], log: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A worker, ended with the block if not before. `log`: the open file for what it says before it has its own."""
        if self._ended:
            raise RunFailed("stopped before it began")
        # A session of its own: Ctrl-C reaches this process alone, which then ends the worker in order.
        # It holds our locks too: a folder is free when nobody who could write there lives.
        worker = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=dict(environment),
            start_new_session=True, pass_fds=holding.handles(),
        )  # fmt: skip
        self._running.add(worker)
        if self._ended:  # while this one was starting
            _end(worker)
        try:
            yield worker
        finally:
            _end(worker)
            self._running.discard(worker)
            if worker.stdout is not None:
                worker.stdout.close()


def environments() -> tuple[Path, ...]:
    """The folders that may hold an environment for each framework, the first to be preferred.

    `DEFECT_DETECT_ENVS` if it is set, else `envs` beside this package and in the user's data folder. Never of
    itself one of the working directory: whoever starts a tool in a stranger's folder would run the stranger's code.
    """
    if given := os.environ.get("DEFECT_DETECT_ENVS"):
        return (Path(given).absolute(),)
    folders = [Path(__file__).resolve().parents[1] / "envs"]
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    with contextlib.suppress(RuntimeError):  # nobody's process has no home
        folders.append((base if base.is_absolute() else Path.home() / ".local" / "share") / "defect-detect" / "envs")
    return tuple(folders)


def python_of(framework: str) -> Path:
    """The interpreter that runs jobs of `framework`."""
    owned = (envs / framework / "bin" / "python" for envs in environments())
    return next((own for own in owned if own.exists()), Path(sys.executable))


def check(framework: str) -> None:
    """Make sure, within a second, that the framework is installed where its jobs would run.

    Raises:
        FrameworkMissing: what is missing, and the command that mends it.
    """
    python = python_of(framework)
    answer = ask(python, "-m", "defect_detect.worker", "--check", framework)
    if "missing" not in answer:
        raise FrameworkMissing(f"{python} doesn't say what it lacks: is it another version of defect_detect there?")
    lacking = [backends.package(framework) or framework] if answer.get("unknown") else answer["missing"]
    if lacking:
        how = f"in an environment of its own: python tools/make_env.py {framework}"
        if framework not in backends.shipped():
            how = f"there: {shlex.join([str(python), '-m', 'pip', 'install', *lacking])}"
        raise FrameworkMissing(f"{framework}: {', '.join(lacking)} not installed in {python}. Install it {how}")


def ask(python: Path, *arguments: str, limit: float | None = None) -> dict[str, Any]:
    """What a program of ours answers in that interpreter: one JSON object on its standard output.

    Raises:
        FrameworkMissing: it doesn't, or not within `limit` seconds.
    """
    said = ""
    try:
        asked = subprocess.run(
            [python, "-I", *arguments], capture_output=True, text=True, check=False, env=scrubbed(0), timeout=limit,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        said = asked.stderr.strip() or f"nothing; its exit code was {asked.returncode}"
        answer: dict[str, Any] = msgspec.json.decode(asked.stdout.encode(), type=dict[str, Any])
    except subprocess.TimeoutExpired:
        raise FrameworkMissing(f"{python} gave no answer within {limit:g} s") from None
    except OSError as error:
        raise FrameworkMissing(f"{python} can't be run: {error.strerror or error}") from error
    except msgspec.DecodeError:
        raise FrameworkMissing(f"{python} can't run defect_detect's worker:\n{said}") from None
    return answer


def finished(run: Path, wanted: job.Job) -> job.Trained | job.Predicted | None:
    """The result of `run` when it did exactly `wanted` and its files are still what it left; else None."""
    try:
        if job.canonical(job.decode_job((run / "job.json").read_bytes())) != job.canonical(wanted):
            return None
        result = job.decode_result((run / "result.json").read_bytes())
        if isinstance(result, job.Trained):
            whole = sha256_file(run / result.outcome.checkpoint) == result.checkpoint_sha256
        elif isinstance(result, job.Predicted):
            whole = sha256_file(run / result.predictions) == result.predictions_sha256
        else:
            return None
    except (OSError, msgspec.MsgspecError):
        return None
    return result if whole else None


def execute(
    run: Path, wanted: job.Job, *, framework: str, report: Report | None = None, workers: Workers | None = None,
    python: Path | None = None,
) -> job.Trained | job.Predicted:  # fmt: skip
    """Do the job in `run`, unless it is already done there.

    What an earlier, different job left in the folder is set aside as `<run>.replaced-N`, never deleted.
    `python`: the interpreter; None: `python_of` the framework.

    Raises:
        FrameworkMissing, Unsupported, ConfigError: the worker says that the job can't be done here.
        RunFailed: it failed. WorkerDied: it ended without a result.
        KeyboardInterrupt: passed on, after the worker has ended.
    """
    sweep(run)
    if (done := finished(run, wanted)) is not None:
        resuming.clear(run)  # it was killed between its result and this
        return done
    _make_room(run, wanted)
    atomic_write(run / "job.json", job.encode(wanted))
    threads = wanted.settings.threads if isinstance(wanted, job.TrainJob) else wanted.threads
    command = [str(python or python_of(framework)), "-I", "-m", "defect_detect.worker", str(run.absolute())]
    workers = workers or Workers()
    with (run / "log.txt").open("ab") as log, workers.watching(command, scrubbed(threads), log.fileno()) as worker:
        said = _supervise(worker, report or (lambda _: None), workers.stalled_after)
    try:
        result = job.decode_result((run / "result.json").read_bytes())
    except FileNotFoundError:
        if said is not None:  # there was no room for its result
            raise _error(said, run) from None
        raise WorkerDied(worker.returncode, _tail(run / "log.txt")) from None
    except msgspec.MsgspecError as error:
        raise RunFailed(f"{run / 'result.json'} is not what a worker writes: {error}") from error
    if isinstance(result, job.Failed):
        raise _error(result, run)
    return result


def _make_room(run: Path, wanted: job.Job) -> None:
    """Clear what an unfinished or failed try of the same job left; set anything else aside.

    What that try goes on from stays, and its log.
    """
    run.mkdir(parents=True, exist_ok=True)
    if _holds_work(run, wanted):
        aside = next(p for n in range(1, 10_000) if not (p := run.with_name(f"{run.name}.replaced-{n}")).exists())
        run.rename(aside)
    elif (run / resuming.FOLDER).exists():
        for path in run.iterdir():
            if path.name not in ("job.json", "log.txt") and not path.name.startswith(resuming.FOLDER):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        discard(run)
    run.mkdir(parents=True, exist_ok=True)


def _holds_work(run: Path, wanted: job.Job) -> bool:
    try:
        same = job.canonical(job.decode_job((run / "job.json").read_bytes())) == job.canonical(wanted)
    except (OSError, msgspec.MsgspecError):
        same = False
    try:
        failed = isinstance(job.decode_result((run / "result.json").read_bytes()), job.Failed)
    except FileNotFoundError:
        failed = True
    except (OSError, msgspec.MsgspecError):
        failed = False
    return any(run.iterdir()) and not (same and failed)


def _supervise(worker: subprocess.Popen[bytes], report: Report, stalled_after: float) -> job.Failed | None:
    """Pass on what the worker says until it ends; the failure that it couldn't write down, if it says one.

    Raises:
        RunFailed: it hangs. Its stack is in its log then, and it is ended.
    """
    progress, failed = msgspec.json.Decoder(job.Progress), msgspec.json.Decoder(job.Failed)
    said: job.Failed | None = None
    for line in _lines(worker, stalled_after):
        try:
            report(progress.decode(line))
        except msgspec.MsgspecError:
            with contextlib.suppress(msgspec.MsgspecError):
                said = failed.decode(line)
    with contextlib.suppress(subprocess.TimeoutExpired):  # its result is written; what hangs is only its end
        worker.wait(_GRACE)
    return said


def _lines(worker: subprocess.Popen[bytes], stalled_after: float) -> Iterator[bytes]:
    """The lines of its standard output until that ends, or it does: a process that it left may keep the pipe open."""
    assert worker.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
    pipe, rest, heard = worker.stdout.fileno(), b"", time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            ended = worker.poll() is not None
            if selector.select(0 if ended else _TICK):
                heard = time.monotonic()
                if not (chunk := os.read(pipe, 1 << 16)):
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
            elif ended:
                return
            elif stalled_after and time.monotonic() - heard > stalled_after:
                os.kill(worker.pid, signal.SIGUSR1)  # `worker` has faulthandler write all stacks to the log
                time.sleep(_TICK)
                raise RunFailed(
                    f"the worker hangs: not a word for {stalled_after:g} s. Where it hung stands at the end of its"
                    " log.txt; if it was only slow, raise --stalled-after"
                )


def _end(worker: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        # The whole session: a framework's loader processes must not outlive it either.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(_GRACE)
            break
    with contextlib.suppress(ProcessLookupError):  # those of the session that take SIGTERM lightly
        os.killpg(worker.pid, signal.SIGKILL)


def scrubbed(threads: int) -> dict[str, str]:
    """The environment of a worker: a run depends on its job and not on the shell it was started from."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    count = str(threads or os.cpu_count() or 1)
    return kept | {
        job.PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        # Threads that wait asleep: spinning ones made two trainings side by side 20x slower.
        "OMP_WAIT_POLICY": "passive",
        # By default glibc gives large pieces back to the system and asks for them again in every step: reading a
        # picture of 640 px took 3.7 ms instead of 1.1, training SSD 1.04 times as long.
        "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
        "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def _error(failed: job.Failed, run: Path) -> Exception:
    if failed.kind == "unavailable":
        return FrameworkMissing(failed.message)
    if failed.kind == "unsupported":
        return Unsupported(failed.message)
    if failed.kind == "input":
        return ConfigError(failed.message)
    return RunFailed(f"{failed.message}\n(the whole log: {run / 'log.txt'})")


def _tail(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        return []
