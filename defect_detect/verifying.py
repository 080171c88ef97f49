"""Does a comparison's folder still prove what it says? Every hash is checked, every figure derived again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from defect_detect import facts, folder, holding, job, judging, logged, sealing
from defect_detect.data import coco
from defect_detect.data.files import sha256_file
from defect_detect.data.fingerprint import fingerprint
from defect_detect.errors import InputError
from defect_detect.evaluation import ledger
from defect_detect.evaluation.comparison import Comparison
from defect_detect.report import write

Progress = Callable[[int, int], None]
"""Told (pictures looked at, of all)."""
_MOST = 20
"""Differing figures that are listed one by one."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was, or not as it follows from the rest."""

    kind: str
    """`changed` | `missing` | `figure` | `log` | `unsealed`"""
    where: str
    expected: str
    found: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What verification looked at, and what it found."""

    findings: list[Finding]
    files: int
    """Hashed and compared with the seal."""
    pictures: int
    """Hashed and compared with their dataset's files."""
    figures: int
    """Derived again: numbers, texts and nulls in comparison.json."""
    notes: list[str]
    """What differs and explains findings: versions."""


class _Named(msgspec.Struct, frozen=True):
    file_name: str
    sha256: str


class _Pictures(msgspec.Struct, frozen=True):
    images: list[_Named]


def verify(out: Path, progress: Progress | None = None) -> Verified:
    """Check the comparison in the folder `out`; nothing is written.

    Raises:
        InputError: it is no folder of a finished comparison, or somebody works in it now.
    """
    holding.refuse_busy(out)
    request, comparison = folder.read(out)
    findings: list[Finding] = []
    files, of_files = _sealed(out, request)
    pictures, of_pictures = _datasets(out, request, comparison, progress)
    figures, of_figures = _figures(out, request, comparison)
    for found in (of_files, _log(out), of_pictures, _jobs(out, request), of_figures):
        findings += [one for one in found if one not in findings]
    return Verified(findings=findings, files=files, pictures=pictures, figures=figures, notes=_notes(comparison))


def _sealed(out: Path, request: folder.Request) -> tuple[int, list[Finding]]:
    try:
        seal = sealing.read(out)
    except msgspec.DecodeError as error:
        return 0, [Finding(kind="changed", where=sealing.NAME, expected="our own file", found=str(error))]
    if seal is None:
        return 0, [Finding(kind="unsealed", where=sealing.NAME, expected="the seal of a finished comparison",
                           found="none: it was stopped before its end, or made by an older version")]  # fmt: skip
    findings = list(_compared(out, seal.files))
    try:
        there = {os.path.relpath(path, out) for path in sealing.sealed(out, request)}
    except (OSError, msgspec.MsgspecError):
        there = set()  # the files that say so are told of otherwise
    for name in sorted(there - set(seal.files)):
        findings.append(Finding(kind="changed", where=name, expected="no such file when it was sealed", found="one"))
    return len(seal.files), findings


def _compared(out: Path, files: dict[str, str]) -> Iterator[Finding]:
    for name, expected in files.items():
        try:
            found = sha256_file(out / name)
        except OSError as error:
            yield Finding(kind="missing", where=name, expected=_hash(expected), found=error.strerror or str(error))
        else:
            if found != expected:
                yield Finding(kind="changed", where=name, expected=_hash(expected), found=_hash(found))


def _log(out: Path) -> list[Finding]:
    findings = [
        Finding(kind="log", where=logged.NAME, expected="lines that follow each other", found=fault)
        for fault in logged.faults(out)
    ]
    told = logged.last_seal(out)
    if told is not None and told != sealing.of(out):
        findings.append(Finding(kind="log", where=sealing.NAME, expected=f"the seal that {logged.NAME} names last,"
                                f" {_hash(told)}", found=_hash(sealing.of(out)) if sealing.of(out) else "none"))  # fmt: skip
    return findings


def _datasets(
    out: Path, request: folder.Request, comparison: Comparison, progress: Progress | None
) -> tuple[int, list[Finding]]:
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
                                    found=_words(error)))  # fmt: skip
    for done, (path, expected) in enumerate(listed, 1):
        findings += _compared(out, {os.path.relpath(path, out): expected})
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
                                    expected=f"the pictures and annotations that {by} names, {_hash(fingerprint_)}",
                                    found=_hash(again)))  # fmt: skip
    return [(root / coco.PICTURES / each.file_name, each.sha256) for each in named]


def _jobs(out: Path, request: folder.Request) -> list[Finding]:
    findings: list[Finding] = []
    for name, seeds in request.trained.items():
        for seed in seeds:
            home = folder.run_folder(out, name, seed)
            trained = _trained(out, home, findings)
            for split in folder.SPLITS:
                _predicted(out, home / "predictions" / split, trained, findings)
    for name, splits in request.foreign.items():
        for split in splits:
            _manifest(out, out / "predictions" / name / split, None, findings)
    return findings


def _trained(out: Path, home: Path, findings: list[Finding]) -> job.Trained | None:
    where = os.path.relpath(home, out)
    try:
        made, result = (
            job.decode_job((home / "job.json").read_bytes()),
            job.decode_result((home / "result.json").read_bytes()),
        )
    except (OSError, msgspec.MsgspecError) as error:
        findings.append(Finding(kind="changed", where=where, expected="a finished training", found=_words(error)))
        return None
    if not isinstance(made, job.TrainJob) or not isinstance(result, job.Trained):
        findings.append(Finding(kind="changed", where=where, expected="a finished training", found="something else"))
        return None
    findings += _compared(out, {f"{where}/{result.outcome.checkpoint}": result.checkpoint_sha256})
    for split, expected in made.fingerprints.items():
        if result.dataset_fingerprints.get(split, expected) != expected:
            findings.append(Finding(kind="changed", where=f"{where}/result.json", expected=f"trained on the {split}"
                                    f" split of its job, {_hash(expected)}",
                                    found=_hash(result.dataset_fingerprints[split])))  # fmt: skip
    return result


def _predicted(out: Path, home: Path, trained: job.Trained | None, findings: list[Finding]) -> None:
    where = os.path.relpath(home, out)
    try:
        result = job.decode_result((home / "result.json").read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        findings.append(Finding(kind="changed", where=where, expected="a finished prediction", found=_words(error)))
        return
    if not isinstance(result, job.Predicted):
        findings.append(Finding(kind="changed", where=where, expected="a finished prediction", found="something else"))
        return
    findings += _compared(out, {f"{where}/{result.predictions}": result.predictions_sha256})
    _manifest(out, home, trained, findings)


def _manifest(out: Path, home: Path, trained: job.Trained | None, findings: list[Finding]) -> None:
    where = os.path.relpath(home, out)
    try:
        manifest = folder.read_manifest(home)
    except InputError as error:
        findings.append(Finding(kind="changed", where=where, expected="a manifest", found=_words(error)))
        return
    if manifest is None:
        return
    findings += _compared(out, {f"{where}/predictions.json": manifest.predictions_sha256})
    if trained is not None and manifest.checkpoint_sha256 != trained.checkpoint_sha256:
        findings.append(Finding(kind="changed", where=f"{where}/manifest.json", expected="predicted with the checkpoint"
                                f" {_hash(trained.checkpoint_sha256)}", found=_hash(manifest.checkpoint_sha256)))  # fmt: skip


def _figures(out: Path, request: folder.Request, comparison: Comparison) -> tuple[int, list[Finding]]:
    """Derive comparison.json and what shows it from the predictions and the dataset, and compare."""
    try:
        contenders = folder.contenders(out, request)
        again, judged = judging.derive(
            out, request, contenders, folder.review(out, request), comparison.protocol.versions
        )
        costs = facts.measurements(out, request) | {"machine": _machine(out)}
        made = write.contents(again, judged, truth=judged[0].evaluation.truth, measurements=costs,
                              ledger=ledger.rows(judged, request.sizes))  # fmt: skip
    except (InputError, OSError, msgspec.MsgspecError) as error:
        return 0, [Finding(kind="figure", where="comparison.json", expected="figures that can be derived again",
                           found=_words(error))]  # fmt: skip
    ours, theirs = msgspec.json.decode(job.encode(again)), msgspec.json.decode((out / "comparison.json").read_bytes())
    differing = list(_differing("", theirs, ours))
    findings = [
        Finding(kind="figure", where=f"comparison.json {where}", expected=f"{right!r}, as the predictions say",
                found=repr(wrong))
        for where, wrong, right in itertools.islice(differing, _MOST)
    ]  # fmt: skip
    if len(differing) > _MOST:
        findings.append(Finding(kind="figure", where="comparison.json", expected="no other figures",
                                found=f"{len(differing) - _MOST} more that differ"))  # fmt: skip
    for name, content in made.items():
        raw = content if isinstance(content, bytes) else content.encode()
        try:
            same = (out / name).read_bytes() == raw
        except OSError:
            continue  # the seal says that it is missing
        if not same and not (name == "comparison.json" and differing):
            findings.append(Finding(kind="figure", where=name, expected="what follows from the figures", found="other"))
    return sum(1 for _ in _leaves(ours)), findings


def _differing(where: str, wrong: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    """(JSON pointer, there, derived) of each value that differs."""
    if isinstance(wrong, dict) and isinstance(right, dict):
        for key in dict.fromkeys([*wrong, *right]):
            yield from _differing(f"{where}/{key}", wrong.get(key), right.get(key))
    elif isinstance(wrong, list) and isinstance(right, list) and len(wrong) == len(right):
        for number, (one, other) in enumerate(zip(wrong, right, strict=True)):
            yield from _differing(f"{where}/{number}", one, other)
    elif wrong != right or type(wrong) is not type(right):
        yield where, wrong, right


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def _machine(out: Path) -> Any:
    """The machine that the measurements name: another one may verify."""
    try:
        return msgspec.json.decode((out / "measurements.json").read_bytes())["machine"]
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return {}


def _notes(comparison: Comparison) -> list[str]:
    now = facts.versions()
    return [
        f"{name}: figures made with {then}, verified with {now.get(name, 'none')}"
        for name, then in comparison.protocol.versions.items()
        if now.get(name) != then
    ]


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}"
    return str(error)


def _hash(sha256: str) -> str:
    return f"SHA-256 {sha256[:16]}..."
