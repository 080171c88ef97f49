"""What a training keeps in its run folder, so that it goes on after a kill.

    RUN/resume/state-<epoch>    the backend's own: weights, optimizer, schedule, chance
    RUN/resume/best-<epoch>     the checkpoint of the best epoch until then
    RUN/resume/after-<epoch>    Record: the hashes of both, how validation went, what they are of; written last

Each file is written under a temporary name, fsynced and renamed, and only a Record makes the other two
count. So a kill at any moment leaves the epoch before it whole. The last two epochs are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from defect_detect import job
from defect_detect.data.files import atomic_write, replacing, sha256_file
from defect_detect.data.hashed import Writer
from defect_detect.data.hashed import write as _write
from defect_detect.errors import RunFailed

FOLDER = "resume"
"""In the run folder; gone once the training has its result."""
KEPT = 2


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known after an epoch."""

    schema: int = 1
    of: dict[str, str]
    """Job, data and versions: `identity`."""
    judged: list[job.Judged]
    """All epochs so far."""
    stop: bool
    resumed: list[int]
    state: str
    """SHA-256 of the state."""
    best: int
    """The best epoch; its file's name ends so."""
    best_sha256: str
    sha256: str = ""
    """Of this record, with nothing here."""

    @property
    def epoch(self) -> int:
        """The last one that is done."""
        return len(self.judged)


class Keeper:
    """The states of the training of one run folder; `of` says what it is a training of."""

    def __init__(self, run: Path, of: Mapping[str, str]) -> None:
        self.folder = run / FOLDER
        self.of = dict(of)
        self.best: tuple[int, str] | None = None
        """The best epoch so far and its checkpoint's SHA-256."""

    def newest(self, say: Callable[[str], None]) -> Record | None:
        """The last state that is whole and of this training, None to begin anew. Everything else is cleared.

        A state of something else is set aside as `resume.replaced-N`, and `say` hears what differs; so it
        does of each state that is damaged.
        """
        for record in self._whole(say):
            if differences := _differences(record.of, self.of):
                aside = next(p for n in range(1, 10_000) if not (p := self._aside(n)).exists())
                self.folder.rename(aside)
                say(f"begins anew: the state after epoch {record.epoch} (now in {aside.name}) is of something else:"
                    f" {'; '.join(differences)}")  # fmt: skip
                return None
            self.best = (record.best, record.best_sha256)
            before = [one for one in self._records() if one.epoch < record.epoch]
            self._clear(keep=[record, *before][:KEPT])
            return record
        clear(self.folder.parent)
        return None

    def keep(
        self, state: Writer, best: Writer | None, *, judged: Sequence[job.Judged], stop: bool, resumed: Sequence[int]
    ) -> Path:
        """Keep the state after the last of `judged`, and its checkpoint where it is the best so far; its file.

        Raises:
            RunFailed: there is no room, or no right to write; the epoch before stays whole.
        """
        epoch = len(judged)
        try:
            self.folder.mkdir(exist_ok=True)
            if best is not None:
                self.best = (epoch, _write(self._best(epoch), best))
            if self.best is None:
                raise RunFailed(f"epoch {epoch} is the first and was not called the best")
            record = Record(
                of=self.of, judged=list(judged), stop=stop, resumed=list(resumed),
                state=_write(self._state(epoch), state), best=self.best[0], best_sha256=self.best[1],
            )  # fmt: skip
            record = msgspec.json.decode(job.encode(record), type=Record)  # as it will be read, 1 being 1.0
            record = msgspec.structs.replace(record, sha256=_digest(record))
            atomic_write(self._record(epoch), job.encode(record))
            self._clear(keep=self._records()[:KEPT])
            return self._state(epoch)
        except OSError as error:
            raise RunFailed(
                f"the state after epoch {epoch} can't be written to {self.folder}: {error.strerror or error}."
                " What was kept before is whole: make room and run the same command again"
            ) from error

    def deliver(self, path: Path) -> None:
        """Put the checkpoint of the best epoch at `path`, and leave it here too.

        Raises:
            RunFailed: there is none, it is no longer what was kept, or there is no room.
        """
        if self.best is None:
            raise RunFailed("no epoch was called the best, so there is no checkpoint")
        epoch, expected = self.best
        try:
            _check(self._best(epoch), expected)
            with replacing(path) as target, self._best(epoch).open("rb") as source:
                shutil.copyfileobj(source, target)
        except (OSError, ValueError) as error:
            raise RunFailed(f"the best checkpoint can't be put at {path}: {error}") from error

    def state(self, record: Record) -> Path:
        """The backend's file."""
        return self._state(record.epoch)

    def _whole(self, say: Callable[[str], None]) -> Iterator[Record]:
        """Newest first."""
        for path in sorted(self.folder.glob("after-*"), key=_number, reverse=True):
            try:
                record = _read(path)
                _check(self._state(record.epoch), record.state)
                _check(self._best(record.best), record.best_sha256)
            except (OSError, ValueError) as error:
                say(f"the state after epoch {_number(path)} can't be used ({error}); the one before is tried")
            else:
                yield record

    def _records(self) -> list[Record]:
        """Newest first; those that can't be read are left out."""
        found = []
        for path in sorted(self.folder.glob("after-*"), key=_number, reverse=True):
            with contextlib.suppress(OSError, ValueError):
                found.append(_read(path))
        return found

    def _clear(self, *, keep: Sequence[Record]) -> None:
        """Remove all that none of these needs, records first: a state without its record is no state."""
        needed = {path for r in keep for path in (self._record(r.epoch), self._state(r.epoch), self._best(r.best))}
        if self.best is not None:
            needed.add(self._best(self.best[0]))
        for path in sorted(self.folder.iterdir(), key=lambda path: not path.name.startswith("after-")):
            if path not in needed:
                path.unlink()

    def _state(self, epoch: int) -> Path:
        return self.folder / f"state-{epoch}"

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}"

    def _record(self, epoch: int) -> Path:
        return self.folder / f"after-{epoch}"

    def _aside(self, number: int) -> Path:
        return self.folder.with_name(f"{FOLDER}.replaced-{number}")


def clear(run: Path) -> None:
    """Remove what a training kept: it has its result, or begins anew."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def identity(wanted: job.TrainJob, fingerprints: Mapping[str, str], versions: Mapping[str, str]) -> dict[str, str]:
    """What a state must be of to go on from it; where the dataset lies doesn't matter, what it holds does."""
    asked: dict[str, Any] = msgspec.to_builtins(wanted)
    for name in ("type", "dataset", "fingerprints"):
        asked.pop(name)
    asked.pop("settings")
    told = asked | {f"dataset {split}": value for split, value in fingerprints.items()}
    told |= {f"version of {name}": value for name, value in versions.items()}
    return _texts(told) | _settings(wanted.settings)


def _settings(settings: job.Settings) -> dict[str, str]:
    return _texts({f"settings.{name}": value for name, value in msgspec.to_builtins(settings).items()})


def _texts(told: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else repr(value) for name, value in told.items()}


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    # A setting that there wasn't yet was what it is by default, as in the run's job.json.
    then = {**{name: value for name, value in _settings(job.Settings()).items() if name in now}, **then}
    names = dict.fromkeys([*then, *now])
    return [
        f"{name} was {then.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _check(path: Path, expected: str) -> None:
    """Raises OSError or ValueError."""
    if sha256_file(path) != expected:
        raise ValueError(f"{path.name} is damaged: its SHA-256 is not the one recorded")


def _read(path: Path) -> Record:
    """Raises OSError or ValueError."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    if record.sha256 != _digest(record) or record.epoch != _number(path):
        raise ValueError(f"{path.name} is damaged: it is not what was written")
    return record


def _digest(record: Record) -> str:
    return hashlib.sha256(job.canonical(msgspec.structs.replace(record, sha256=""))).hexdigest()


def _number(path: Path) -> int:
    number = path.name.partition("-")[2]
    return int(number) if number.isdigit() else 0
