"""From what was predicted to every report, and to whether a condition to fail holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console

from defect_detect import facts, folder, gating, job
from defect_detect.data.files import atomic_write
from defect_detect.errors import DefectDetectError
from defect_detect.evaluation import compare, ledger, review_template
from defect_detect.evaluation import review as reviews
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.gate import Told
from defect_detect.evaluation.judged import Contender, Judged
from defect_detect.evaluation.review import Review
from defect_detect.report import review_csv, terminal, write
from defect_detect.tables import Dataset


def judge(
    out: Path,
    request: folder.Request,
    decided: Review | None = None,
    asked: gating.Gate | None = None,
    template: Path | None = None,
    *,
    fiftyone: bool,
    console: Console,
) -> bool:
    """Compare what was predicted and write every report. Returns whether no condition to fail holds.

    Args:
        out: the folder of the comparison.
        request: what is compared, how.
        decided: a review of the labels of test.
        asked: conditions to fail.
        template: where to write a review to be filled in.
        fiftyone: whether to store the comparison there.
        console: where to say how far it is.
    """
    contenders = folder.contenders(out, request)
    with console.status("comparing"):
        comparison, judged = derive(out, request, contenders, decided, facts.versions())
        told = gating.check(asked, request, comparison, _as_judged(contenders, judged)) if asked else []
    truth = judged[0].evaluation.truth
    atomic_write(out / "request.json", job.encode(request))
    if decided is not None:
        atomic_write(out / "review.jsonl", reviews.encode(decided))
    costs = facts.measurements(out, request)
    atomic_write(out / "measurements.json", msgspec.json.format(msgspec.json.encode(costs), indent=2))
    with console.status("writing the report"):
        rows = ledger.rows(judged, request.sizes)
        write.write(out, comparison, judged, truth=truth, measurements=costs, ledger=rows)
    if template is not None:
        unreviewed = folder.judged(contenders, comparison)
        asked_for = review_template.template(unreviewed, seed=request.seed, earlier=decided)
        atomic_write(template, review_csv.encode(asked_for, template))
        console.print(f"to be filled in: {template}", markup=False, highlight=False, soft_wrap=True)
    # A pipe or a log has no width of its own; 80 columns would break the names of detectors.
    terminal.print_comparison(comparison, Console() if sys.stdout.isatty() else Console(width=120))
    console.print(f"\nreport: {out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    if fiftyone:
        _store(out, comparison, judged, truth, console)
    return _passed(out, told, console)


def derive(
    out: Path, request: folder.Request, contenders: Sequence[Contender], decided: Review | None,
    versions: Mapping[str, str],
) -> tuple[Comparison, tuple[Judged, ...]]:  # fmt: skip
    """The figures, and the fate of every defect; of `versions`, which the figures name."""
    return compare.compare(
        contenders, policy=request.operating, rule=request.rule, seed=request.seed,
        resamples=request.resamples, facts=facts.dataset(out / request.dataset, request.source), versions=versions,
        allow=request.allow, measure=request.pod_size, link=request.pod_link, review=decided, sizes=request.sizes,
    )  # fmt: skip


def _as_judged(contenders: Sequence[Contender], judged: Sequence[Judged]) -> list[Contender]:
    """The contenders held against the truth they were judged on, which a review may have corrected."""
    evaluation = {(one.name, one.seed): one.evaluation for one in judged}
    return [
        replace(one, runs=tuple(replace(run, test=evaluation[one.name, run.seed]) for run in one.runs))
        for one in contenders
    ]


def _passed(out: Path, told: Sequence[Told], console: Console) -> bool:
    """Say what came of each condition, and keep it as gate.json; whether none of them holds."""
    if not told:
        (out / "gate.json").unlink(missing_ok=True)
        return True
    atomic_write(out / "gate.json", msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    for one in told:
        console.print("[bold red]failed[/] " if one.failed else "[green]passed[/] ", end="")
        console.print(one.sentence, markup=False, highlight=False, soft_wrap=True)
    return not any(one.failed for one in told)


def _store(out: Path, comparison: Comparison, judged: Sequence[Judged], truth: Dataset, console: Console) -> None:
    from defect_detect.explore import store

    try:
        with console.status("storing the comparison in FiftyOne"):
            name = store.store(out.resolve().name, comparison, judged, truth, folder=out)
    except DefectDetectError as error:
        # The figures stand without the App.
        console.print(f"not stored in FiftyOne: {error}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"look at the misses: python tools/explore.py {out}   (FiftyOne dataset {name})",
                      markup=False, highlight=False, soft_wrap=True)  # fmt: skip
