"""What is wrong, in words, with the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from defect_detect import backends, installed
from defect_detect.doctor.found import Database, Finding, Framework, Interpreter, Machine
from defect_detect.doctor.trying import NOT_TRIED

_KNOWN = (
    ("libGL.so.1", "OpenCV wants the display's libraries. On Debian and Ubuntu: apt install libgl1"),
    ("libgthread", "On Debian and Ubuntu: apt install libglib2.0-0"),
    ("No space left", "Make room on the disk of the temporary folder, or name another: export TMPDIR=DIR"),
    ("out of memory", "Free memory, or try on the CPU: --device cpu"),
    ("no kernel image", "This torch has no code for this GPU: install one that has, or set device: cpu"),
    ("driver", "The GPU's driver is older than this torch wants: update it, or set device: cpu"),
)
"""Parts of errors of the frameworks, and what mends them."""
_OWN = installed.versions("classical")["defect-detect"]
_LITTLE_ROOM = 5 * 10**9
_LITTLE_MEMORY = 4 * 10**9
_MOST_NAMED = 6


def frameworks(found: Sequence[Framework], probed: Mapping[str, Interpreter], asked: Sequence[str]) -> list[Finding]:
    """What is wrong with frameworks. One that is absent is a fault only where it was asked for."""
    findings = []
    for one in found:
        where = probed[one.python]
        make = f"python tools/make_env.py {one.name}" + (" --fresh" if one.own else "")
        if one.name not in backends.shipped():  # another package's: make_env doesn't know what to install
            wanted = where.missing.get(one.name) or [backends.package(one.name)]
            make = shlex.join([one.python, "-m", "pip", "install", *wanted])
        if one.status == "absent":
            findings.append(Finding(
                where=one.name, what=f"{', '.join(where.missing[one.name])} not installed in {one.python}", fix=make,
                level="fault" if one.name in asked else "note",
            ))  # fmt: skip
        if unsuited := where.unsuited.get(one.name):
            findings.append(Finding(where=one.name, what=f"expected {'; '.join(unsuited)}", fix=make))
        other = where.versions.get(one.name, {}).get("defect-detect", _OWN)
        if other != _OWN:
            findings.append(Finding(
                where=one.name, what=f"{one.python} has defect_detect {other}, this is {_OWN}", fix=make,
            ))  # fmt: skip
        for tried in one.tried:
            for part, why in tried.faults().items():
                if not why.startswith(NOT_TRIED):
                    findings.append(Finding(where=f"{one.name} {tried.model}: {part}", what=why, fix=_mend(why, make)))
    return findings


def interpreters(found: Sequence[Interpreter]) -> list[Finding]:
    """What is wrong with the Pythons themselves."""
    findings = []
    for one in found:
        if one.error:
            names = " ".join(one.missing) or "FRAMEWORK"
            findings.append(Finding(where=one.python, what=one.error, fix=f"python tools/make_env.py {names} --fresh"))
        if len(set(one.opencv.values())) > 1:
            both = ", ".join(f"{name} {version}" for name, version in one.opencv.items())
            newest = max(one.opencv.values(), key=_sortable)
            same = " ".join(f"{name}=={newest}" for name in one.opencv)
            findings.append(Finding(
                where=one.python, what=f"{both} write the same files: which of them is in place is chance",
                fix=f"{one.python} -m pip install --force-reinstall --no-deps {same}",
            ))  # fmt: skip
        if one.untested:
            named = [f"{name} {text}" for name, text in one.untested.items()]
            told = "; ".join(named[:_MOST_NAMED])
            more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
            findings.append(Finding(
                where=one.python, what=f"not the versions that were tested together: {told}{more}",
                fix="Only where something doesn't work: install the tested ones (constraints.txt).", level="note",
            ))  # fmt: skip
        if one.torch is not None and one.torch.error:
            findings.append(
                Finding(where=f"torch in {one.python}", what=one.torch.error, fix=_mend(one.torch.error, ""))
            )
    return findings


def computer(found: Machine, probed: Sequence[Interpreter]) -> list[Finding]:
    """What is short on the machine, and a GPU that no torch can use."""
    findings = [
        Finding(where=f"the {name} disk", what=f"{free / 1e9:.1f} GB free", level="note",
                fix="A comparison of three detectors leaves about 1 GB; an environment with torch, 5 GB.")
        for name, free in found.disks.items()
        if free < _LITTLE_ROOM
    ]  # fmt: skip
    if found.memory_free < _LITTLE_MEMORY:
        findings.append(Finding(
            where="memory", what=f"{found.memory_free / 1e9:.1f} GB free", level="note",
            fix="Give smaller batches (--set batch=4), or --set on_out_of_memory=halve.",
        ))  # fmt: skip
    torches = [one.torch for one in probed if one.torch is not None and one.torch.version]
    if found.gpus and torches and not any(torch.gpus for torch in torches):
        built = ", ".join(sorted({f"torch {torch.version} (CUDA {torch.cuda or 'none'})" for torch in torches}))
        findings.append(Finding(
            where=found.gpus[0].name, what=f"no torch can use it: {built}, driver {found.driver}",
            fix="Update the driver, or install a torch for its CUDA: PIP_INDEX_URL=... python tools/make_env.py ...",
        ))  # fmt: skip
    return findings


def service(found: Database | None) -> list[Finding]:
    """What is wrong with FiftyOne; that it isn't there is no fault."""
    if found is None or found.status in ("works", "installed"):
        return []
    if found.status == "absent":
        return [
            Finding(where="FiftyOne", what="not installed", fix="pip install 'defect-detect[explore]'", level="note")
        ]
    return [Finding(where="FiftyOne", what=found.error, fix="Or go without: --no-fiftyone")]


def _mend(why: str, otherwise: str) -> str:
    return next((fix for sign, fix in _KNOWN if sign in why), otherwise)


def _sortable(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]
