"""Seal, log, pictures and annotations: are they what they were?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from defect_detect import folder, logged, sealing
from defect_detect.data import coco
from defect_detect.data.fingerprint import fingerprint
from defect_detect.errors import InputError
from defect_detect.evaluation.comparison import Comparison
from defect_detect.verifying.findings import Finding, compared, short, words

Progress = Callable[[int, int], None]
"""Told (pictures looked at, of all)."""


class _Named(msgspec.Struct, frozen=True):
    file_name: str
    sha256: str


class _Pictures(msgspec.Struct, frozen=True):
    images: list[_Named]


def sealed(out: Path, request: folder.Request) -> tuple[int, list[Finding]]:
    """How many files are sealed, and which are not as they were then."""
    try:
        seal = sealing.read(out)
    except msgspec.DecodeError as error:
        return 0, [Finding(kind="changed", where=sealing.NAME, expected="our own file", found=str(error))]
    if seal is None:
        return 0, [Finding(kind="unsealed", where=sealing.NAME, expected="the seal of a finished comparison",
                           found="none: it was stopped before its end, or made by an older version")]  # fmt: skip
    findings = list(compared(out, seal.files))
    try:
        there = {os.path.relpath(path, out) for path in sealing.sealed(out, request)}
    except (OSError, msgspec.MsgspecError):
        there = set()  # the files that say so are told of otherwise
    findings += [
        Finding(kind="changed", where=name, expected="no such file when it was sealed", found="one")
        for name in sorted(there - set(seal.files))
    ]
    return len(seal.files), findings


def log(out: Path) -> list[Finding]:
    """Whether the lines of the log follow each other, and whether the seal is the one that it names."""
    findings = [
        Finding(kind="log", where=logged.NAME, expected="lines that follow each other", found=fault)
        for fault in logged.faults(out)
    ]
    told, there = logged.last_seal(out), sealing.of(out)
    if told is not None and told != there:
        expected = f"the seal that {logged.NAME} names last, {short(told)}"
        findings.append(
            Finding(kind="log", where=sealing.NAME, expected=expected, found=short(there) if there else "none")
        )
    return findings


def datasets(
    out: Path, request: folder.Request, comparison: Comparison, progress: Progress | None
) -> tuple[int, list[Finding]]:
    """How many pictures there are, and which pictures and annotations are not those that were judged."""
    try:
        roots = sealing.roots(out, request)
    except (OSError, msgspec.MsgspecError):
        roots = [out / request.dataset]  # `_jobs` says what is wrong with the jobs
    listed: list[tuple[Path, str]] = []
    findings: list[Finding] = []
    for number, root in enumerate(roots):
        try:
            for split in coco.splits(root):
                expected = comparison.dataset.fingerprints.get(split, "") if number == 0 else ""
                listed += _split(root, split, expected, os.path.relpath(root, out), findings)
        except (InputError, OSError, msgspec.MsgspecError) as error:
            findings.append(Finding(kind="changed", where=os.path.relpath(root, out), expected="a dataset of ours",
                                    found=words(error)))  # fmt: skip
    for done, (path, expected) in enumerate(listed, 1):
        findings += compared(out, {os.path.relpath(path, out): expected})
        if progress is not None:
            progress(done, len(listed))
    return len(listed), findings


def _split(root: Path, split: str, expected: str, where: str, findings: list[Finding]) -> list[tuple[Path, str]]:
    """The pictures of a split with their hashes; its annotations are held against its fingerprint on the way."""
    data = coco.load(root, split, verify=True)
    named = msgspec.json.decode((root / f"{split}.json").read_bytes(), type=_Pictures).images
    again = fingerprint(data, [each.sha256 for each in named])
    told = {"its own file": data.fingerprint, "comparison.json": expected or again}
    for by, fingerprint_ in told.items():
        if fingerprint_ != again:
            findings.append(Finding(kind="changed", where=f"{where}/{split}.json",
                                    expected=f"the pictures and annotations that {by} names, {short(fingerprint_)}",
                                    found=short(again)))  # fmt: skip
    return [(root / coco.PICTURES / each.file_name, each.sha256) for each in named]
