"""Everything that can go wrong, as one tree.

DefectDetectError
├── InputError               the user's input is at fault; tools exit with 2
│   ├── DatasetError         a dataset file or its pictures
│   ├── PredictionsError     a predictions file, or one that does not fit the dataset
│   ├── ConfigError          a detector config, a `--set`, a policy, an option
│   ├── NotComparable        detectors that were not measured alike
│   ├── FrameworkMissing     a framework or service that is not installed
│   └── Unsupported          a backend cannot do what was asked of it
├── Unreachable              an operating policy that no threshold meets
│   └── NotMeasurable        ... because the data cannot tell
└── RunFailed                a training or prediction that failed; tools exit with 1
    └── WorkerDied           ... without leaving a result
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with an input: where it is, what was expected and found, what to do."""

    where: str
    expected: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, found {self.found}"
        return f"{text}. {self.fix}" if self.fix else text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint at the nearest of the known words; empty where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


class DefectDetectError(Exception):
    """Any error this package raises on purpose."""


class InputError(DefectDetectError):
    """The user's input is at fault. All faults that were found, not only the first."""

    def __init__(self, *faults: Fault | str) -> None:
        self.faults: tuple[Fault | str, ...] = faults
        super().__init__(*faults)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class DatasetError(InputError):
    """A dataset file, or a picture it names, cannot be used."""


class PredictionsError(InputError):
    """A predictions file cannot be used, or does not fit the dataset."""


class ConfigError(InputError):
    """A detector config, a setting or an option cannot be used."""


class NotComparable(InputError):
    """Detectors were not measured alike, so their figures must not stand side by side."""


class FrameworkMissing(InputError):
    """A framework or service that the job needs is not installed."""


class Unsupported(InputError):
    """The backend cannot do what the job asks."""


class Unreachable(DefectDetectError):
    """No threshold meets the operating policy on this data."""


class NotMeasurable(Unreachable):
    """The data cannot tell whether a threshold meets the policy (too few units)."""


class RunFailed(DefectDetectError):
    """A training or prediction failed."""


class WorkerDied(RunFailed):
    """A worker ended without leaving a result."""

    def __init__(self, returncode: int, log: Sequence[str]) -> None:
        self.returncode = returncode
        self.log = tuple(log)
        tail = "\n".join(f"  | {line}" for line in log)
        super().__init__(f"the worker ended with {_describe(returncode)} and no result; its last lines:\n{tail}")


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    import signal

    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = " (often: out of memory)" if name == "SIGKILL" else ""
    return f"{name}{hint}"
