"""Every figure derived again from predictions and annotations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from defect_detect import facts, folder, job, judging
from defect_detect.errors import InputError
from defect_detect.evaluation import ledger
from defect_detect.evaluation.comparison import Comparison
from defect_detect.report import write
from defect_detect.verifying.findings import Finding, words

_MOST = 20
"""Differing figures that are listed one by one."""


def figures(out: Path, request: folder.Request, comparison: Comparison) -> tuple[int, list[Finding]]:
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
                           found=words(error))]  # fmt: skip
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


def notes(comparison: Comparison) -> list[str]:
    """Which versions differ between then and now."""
    now = facts.versions()
    return [
        f"{name}: figures made with {then}, verified with {now.get(name, 'none')}"
        for name, then in comparison.protocol.versions.items()
        if now.get(name) != then
    ]
