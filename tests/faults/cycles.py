"""One comparison, struck again and again until it is let be: what must hold after each blow, and at the end.

Everything runs in real processes. This process adopts what they leave behind (Linux: PR_SET_CHILD_SUBREAPER), so
that an orphan can't hide.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import psutil

from defect_detect import verifying

ROOT = Path(__file__).parents[2]
LAUNCH = Path(__file__).with_name("launch.py")
GRACE = 15.0
"""Seconds that a struck command and all that it started get to be gone."""
HANGS = 600.0
_UNEQUAL = ("log.txt", "metrics.csv", "result.json", "measurements.json", "report.html", "comparison.md", ".lock",
            "seal.json", "audit.json")  # fmt: skip
"""Files that hold times or costs, and so differ between two runs that did the same."""
_LOG = "command.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A tool and its arguments, without --out; how many steps it takes, undisturbed, in each process."""

    tool: str
    arguments: Sequence[str]
    steps: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the command leaves when nothing disturbs it."""

    command: Command
    files: dict[str, str]
    """SHA-256 by name, `` where it may differ."""
    resumes: bool = False
    """Whether a training goes on from its last epoch: then it says so, and need not end with the same bytes."""


class Broken(AssertionError):
    """A promise that didn't hold."""


def adopt_orphans(*, adopt: bool = True) -> None:
    """Become the parent of whatever loses its own, or stop to be."""
    ctypes.CDLL(None).prctl(36, int(adopt), 0, 0, 0)


def undisturbed(command: Command, place: Path, *, warm: bool = False) -> Reference:
    """Run it once in peace, counting its steps; before that once more, if the time counts."""
    trace = place / "trace.txt"
    out = place / "reference"
    trace.unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    if warm:
        run(command, out, {"fresh": False}, place)
        shutil.rmtree(out)
    started = time.monotonic()
    ended = run(command, out, {"trace": str(trace), "fresh": not warm}, place)
    if ended.returncode != 0:
        raise Broken(f"the undisturbed run failed:\n{ended.stderr}")
    seconds = time.monotonic() - started
    steps: dict[str, int] = {}
    for line in trace.read_text().splitlines():
        process = line.partition("\t")[0]
        steps[process] = steps.get(process, 0) + 1
    known = Command(tool=command.tool, arguments=command.arguments, steps=steps, seconds=seconds)
    return Reference(command=known, files=contents(out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    returncode: int
    stderr: str
    struck: str


def run(
    command: Command,
    out: Path | None,
    plan: dict[str, Any],
    place: Path,
    *,
    cwd: Path = ROOT,
    limits: Limits | None = None,
) -> Ended:
    """Run it under a plan for `launch`; `{"after": seconds, "whom": tool | worker, "signal": n}` strikes from here."""
    struck = place / "struck.txt"
    struck.unlink(missing_ok=True)
    (place / "plan.json").write_text(json.dumps(plan | {"struck": str(struck)}))
    arguments = [*command.arguments, *(() if out is None else ("--out", str(out)))]
    words = [str(LAUNCH), str(place / "plan.json"), str(ROOT / "tools" / f"{command.tool}.py"), *arguments]
    with (place / "said.txt").open("w+") as said:
        process = _started(words, said, cwd, limits, fresh=plan.get("fresh", True))
        told = ""
        if "after" in plan:
            told = _from_outside(process, plan)
        try:
            returncode = process.wait(HANGS)
        except subprocess.TimeoutExpired:
            raise Broken(f"hangs under {plan}") from None
        finally:
            _bury(process, plan)
        said.seek(0)
        stderr = said.read()
    if struck.exists():
        told = struck.read_text().splitlines()[0]
    return Ended(returncode=returncode, stderr=stderr, struck=told)


class _Forked:
    """A copy of this process that runs the command: its imports are done, which is most of a short run's time."""

    def __init__(self, words: list[str], said: TextIO, cwd: Path) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        code = 70
        try:
            code = _become(words, said, cwd)
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = HANGS) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forked", timeout)
            time.sleep(0.003)
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


Process = subprocess.Popen[bytes] | _Forked
Limits = Callable[[], None]
"""Takes rights or resources from the process that is to run the command."""


def _started(words: list[str], said: TextIO, cwd: Path, limits: Limits | None, *, fresh: bool) -> Process:
    if not fresh:
        return _Forked(words, said, cwd)
    return subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=cwd,
        preexec_fn=limits,  # noqa: PLW1509 - this process has no other threads that matter
    )  # fmt: skip


def _become(words: list[str], said: TextIO, cwd: Path) -> int:
    """In the copy: run the command as its own interpreter would; its exit code."""
    null = os.open(os.devnull, os.O_RDWR)
    for handle, to in ((null, 0), (null, 1), (said.fileno(), 2)):
        os.dup2(handle, to)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    sys.argv = words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        traceback.print_exc()
        return 130
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        return 1
    return 0


def prepare_forks() -> None:
    """Import what a command does, so that its forks needn't."""
    import scipy.special
    import scipy.stats

    from defect_detect import comparing, judging
    from defect_detect.explore import service
    from defect_detect.report import audit_page, page

    assert all((scipy.special, scipy.stats, comparing, judging, service, audit_page))
    for template in page.environment().list_templates(["jinja"]):
        page.environment().get_template(template)


def _from_outside(process: Process, plan: dict[str, Any]) -> str:
    """Strike after so many seconds, unless all is over; what was struck."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(plan["after"])
        return ""
    whom = [process.pid]
    if plan["whom"] == "worker":
        with contextlib.suppress(psutil.NoSuchProcess):
            whom = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    if not whom:
        return ""
    victim = whom[plan.get("which", 0) % len(whom)]
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, plan["signal"])
        return f"{'tool' if victim == process.pid else 'child'}\tmoment\t{plan['after']:.3f} s\toutside"
    return ""


def _bury(process: Process, plan: dict[str, Any]) -> None:
    """Wait for all that the command started; what outlives it by GRACE is an orphan."""
    deadline = time.monotonic() + GRACE
    if process.poll() is None:
        process.kill()
        process.wait()
    while True:
        left = [child for child in psutil.Process().children(recursive=True) if _alive(child)]
        if not left:
            return
        if time.monotonic() > deadline:
            names = []
            for child in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    names.append(" ".join(child.cmdline()[-3:]))
                    child.kill()
            raise Broken(f"orphans under {plan}: {names}")
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)


def _alive(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "mongod" not in child.name()
    except psutil.NoSuchProcess:
        return False


def contents(out: Path) -> dict[str, str]:
    """SHA-256 of each file by its name; `` for those that hold times."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name != _LOG:
            sealed = path.name not in _UNEQUAL and not path.name.startswith("audit")
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if sealed else ""
    return found


def whole(out: Path, reference: Reference) -> dict[str, tuple[int, int, str]]:
    """Check that what is there is whole; inode, time and hash of the results of finished jobs."""
    finished = {}
    hidden = lambda path: any(part.startswith(".") for part in path.relative_to(out).parts)  # noqa: E731
    for path in [path for path in out.rglob("*") if path.is_file() and not hidden(path)]:
        name = path.relative_to(out).as_posix()
        expected = "" if reference.resumes else reference.files.get(name, "")
        if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise Broken(f"{name} is there with another content than it ends with")
        if path.suffix == ".json":
            try:
                content = json.loads(path.read_bytes())
            except ValueError as error:
                raise Broken(f"{name} is half written: {error}") from None
            if path.name == "result.json" and content.get("type") in ("trained", "predicted"):
                facts = path.stat()
                finished[name] = (facts.st_ino, facts.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
    return finished


def settled(out: Path, reference: Reference, finished: dict[str, tuple[int, int, str]], ended: Ended) -> None:
    """Check the last run: all is as if nothing had happened, and nothing was done twice."""
    if ended.returncode != 0:
        raise Broken(f"the rerun ended with {ended.returncode}:\n{ended.stderr}")
    there = contents(out)
    if set(there) != set(reference.files):
        raise Broken(f"left over {sorted(set(there) - set(reference.files))},"
                     f" missing {sorted(set(reference.files) - set(there))}")  # fmt: skip
    unlike = [name for name, sha256 in reference.files.items() if sha256 != there[name]]
    if unlike and (not reference.resumes or ("comparison.json" in unlike and not _resumed(out))):
        raise Broken(f"other content than undisturbed: {unlike}")
    if reference.resumes and (told := verifying.verify(out).findings):
        raise Broken(f"doesn't verify: {told}")
    now = whole(out, reference)
    if again := [name for name, facts in finished.items() if now.get(name) != facts]:
        raise Broken(f"done twice: {again}")
    for number, line in enumerate((out / _LOG).read_text().splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            raise Broken(f"line {number} of {_LOG} is half written") from None


def _resumed(out: Path) -> bool:
    """Whether a training went on after a kill inside it."""
    return any(json.loads(path.read_bytes()).get("resumed") for path in out.glob("runs/*/result.json"))


def blow(reference: Reference, draw: random.Random, finished: int, *, dataset: bool) -> dict[str, Any]:
    """A plan drawn at random: most at named steps, some at moments. Aimed at what is left to do."""
    steps = reference.command.steps
    workers = [name for name in steps if name != "tool"]
    raw = any(name.startswith("dataset/") for name in reference.files)
    left = max(0.1, 1 - (0.05 if raw else 0.15) * finished - 0.5 * dataset)
    # One kill in ten strikes an interpreter of its own, the others a fork of this one.
    plan: dict[str, Any] = {
        "signal": int(draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))),
        "fresh": draw.random() < 0.1,
    }
    if draw.random() < 0.3:
        return plan | {
            "after": draw.uniform(0.02, reference.command.seconds * left + plan["fresh"]),
            "whom": draw.choice(("tool", "worker")), "which": draw.randrange(8),
        }  # fmt: skip
    running = workers[: max(0, len(workers) - finished)]
    process = draw.choice(["tool", "tool", *running])
    last = int(steps[process] * (left if process == "tool" else 1))
    return plan | {
        # More often early than late: what comes late also comes in the next run, nearer.
        "process": process, "at": int(last * draw.random() ** 2), "when": draw.choice(("before", "half", "after")),
        "victim": "self" if process == "tool" else draw.choice(("self", "self", "other")),
    }  # fmt: skip


def _too_early(stderr: str) -> bool:
    """Ctrl-C before the tool has begun, or after its end: the interpreter speaks then."""
    return stderr.rstrip().endswith("KeyboardInterrupt") and ", in ended" not in stderr


def cycle(reference: Reference, place: Path, draw: random.Random, blows: int) -> list[str]:
    """Strike a fresh comparison `blows` times in a row, let it end, check it; where each blow fell.

    Raises:
        Broken: a promise that didn't hold, and the plans that broke it.
    """
    out = place / "struck"
    shutil.rmtree(out, ignore_errors=True)
    fell: list[str] = []
    plans: list[dict[str, Any]] = []
    finished: dict[str, tuple[int, int, str]] = {}
    try:
        for _ in range(blows):
            plans.append(blow(reference, draw, len(finished), dataset=(out / "dataset").exists()))
            ended = run(reference.command, out, plans[-1], place)
            if ended.struck:
                fell.append(f"{ended.struck}\t{signal.Signals(plans[-1]['signal']).name}\t{ended.returncode}")
            if "Traceback" in ended.stderr and not _too_early(ended.stderr):
                raise Broken(f"a traceback under {plans[-1]}:\n{ended.stderr[-3000:]}")
            there = whole(out, reference) if out.exists() else {}
            if again := [name for name, facts in finished.items() if there.get(name) != facts]:
                raise Broken(f"done twice: {again}")
            finished = there
        settled(out, reference, finished, run(reference.command, out, {"fresh": draw.random() < 0.1}, place))
    except Broken as broken:
        raise Broken(f"{broken}\nafter {json.dumps(plans)}") from None
    return fell
