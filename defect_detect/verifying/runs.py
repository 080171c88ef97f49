"""Trainings and predictions: do checkpoints, predictions and manifests belong together?"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from defect_detect import folder, job
from defect_detect.errors import InputError
from defect_detect.verifying.findings import Finding, compared, short, words


def jobs(out: Path, request: folder.Request) -> list[Finding]:
    """Everything that is wrong with the runs and the predictions from elsewhere."""
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
        findings.append(Finding(kind="changed", where=where, expected="a finished training", found=words(error)))
        return None
    if not isinstance(made, job.TrainJob) or not isinstance(result, job.Trained):
        findings.append(Finding(kind="changed", where=where, expected="a finished training", found="something else"))
        return None
    findings += compared(out, {f"{where}/{result.outcome.checkpoint}": result.checkpoint_sha256})
    for split, expected in made.fingerprints.items():
        if result.dataset_fingerprints.get(split, expected) != expected:
            findings.append(Finding(kind="changed", where=f"{where}/result.json", expected=f"trained on the {split}"
                                    f" split of its job, {short(expected)}",
                                    found=short(result.dataset_fingerprints[split])))  # fmt: skip
    return result


def _predicted(out: Path, home: Path, trained: job.Trained | None, findings: list[Finding]) -> None:
    where = os.path.relpath(home, out)
    try:
        result = job.decode_result((home / "result.json").read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        findings.append(Finding(kind="changed", where=where, expected="a finished prediction", found=words(error)))
        return
    if not isinstance(result, job.Predicted):
        findings.append(Finding(kind="changed", where=where, expected="a finished prediction", found="something else"))
        return
    findings += compared(out, {f"{where}/{result.predictions}": result.predictions_sha256})
    _manifest(out, home, trained, findings)


def _manifest(out: Path, home: Path, trained: job.Trained | None, findings: list[Finding]) -> None:
    where = os.path.relpath(home, out)
    try:
        manifest = folder.read_manifest(home)
    except InputError as error:
        findings.append(Finding(kind="changed", where=where, expected="a manifest", found=words(error)))
        return
    if manifest is None:
        return
    findings += compared(out, {f"{where}/predictions.json": manifest.predictions_sha256})
    if trained is not None and manifest.checkpoint_sha256 != trained.checkpoint_sha256:
        expected = f"predicted with the checkpoint {short(trained.checkpoint_sha256)}"
        findings.append(
            Finding(
                kind="changed", where=f"{where}/manifest.json", expected=expected,
                found=short(manifest.checkpoint_sha256),
            )
        )  # fmt: skip
