"""A comparison held in memory, and its figures at any threshold and by any matching rule.

What the panel asks while somebody drags a threshold. Nothing here knows FiftyOne: all comes from the comparison's
folder, and every figure is made by what made `comparison.json`, from the same resamples. So at the stored
thresholds they are equal to it, intervals included.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defect_detect import folder as comparisons
from defect_detect.evaluation.adjudicate import reviewed
from defect_detect.evaluation.compare import drawn
from defect_detect.evaluation.comparison import Comparison
from defect_detect.evaluation.entrant import Draws, Entrant
from defect_detect.evaluation.judged import Contender, Rule
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import Scored, opportunities, scored, tally
from defect_detect.evaluation.reasons import judge
from defect_detect.evaluation.resampling import over_seeds, ratio, weighted
from defect_detect.evaluation.spread import own_chance
from defect_detect.tables import Dataset, Floats

_KEPT = 4  # comparisons, or rules of one, in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A comparison whose predictions are matched by `rule`.

    draws       the comparison's own resamples of the units of test
    tables      detector -> its seeds on test, laid out for counting
    validation  the same on val; detectors without predictions on it have none
    """

    folder: Path
    comparison: Comparison
    contenders: tuple[Contender, ...]
    rule: Rule
    draws: Draws
    tables: Mapping[str, tuple[Scored, ...]]
    validation: Mapping[str, tuple[Scored, ...]]

    @property
    def truth(self) -> Dataset:
        """The test split, as reviewed."""
        return self.contenders[0].runs[0].test.truth

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors', in the comparison's order."""
        return tuple(one.name for one in self.contenders)


def load(folder: Path) -> Columns:
    """The comparison in `folder`; kept in memory until its files change.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    folder = folder.resolve()
    seen = tuple(_stamp(folder / name) for name in ("request.json", "comparison.json", "review.jsonl"))
    with _LOCK:
        found = _kept.get(key := (folder, seen, None))
        return found if found is not None else _keep(key, _read(folder))


def under(columns: Columns, rule: Rule) -> Columns:
    """The same comparison, matched anew by another rule; always by class, which every figure without 'any' means.

    Raises:
        ConfigError: the rule can't be followed.
        PredictionsError: masks are to be matched and one side has none.
    """
    if rule == columns.rule:
        return columns
    with _LOCK:
        found = _kept.get(key := (columns.folder, id(columns.comparison), rule))
        return found if found is not None else _keep(key, _matched(columns, rule))


def at(columns: Columns, thresholds: Mapping[str, Sequence[Floats]]) -> tuple[Entrant, ...]:
    """Each detector that `thresholds` (see `operating`) names, in the comparison's order.

    `figures.figures`, `sliced.sliced` (with `columns.draws`) and `agreement` (of their `judged`) say the rest. Only
    intervals at this threshold can be had: the others need the policy to choose anew in every resample.
    """
    return tuple(_at(columns, one, thresholds[one.name]) for one in columns.contenders if one.name in thresholds)


def _at(columns: Columns, contender: Contender, vectors: Sequence[Floats]) -> Entrant:
    tables, labels = columns.tables[contender.name], len(columns.truth.categories)
    measured, vectors = len(vectors) > 0, vectors or [np.full(labels, np.inf)] * len(tables)
    of = opportunities(tables[0])
    count = np.stack([tally(table, vector) for table, vector in zip(tables, vectors, strict=True)])
    *sums, below = np.split(weighted(columns.draws.test, np.concatenate([*count, of], axis=1)), len(count) + 1, axis=1)
    frozen = ratio(np.stack(sums), below)
    chance = own_chance(frozen)
    return Entrant(
        contender=contender,
        status="fixed" if measured else "not_measurable",
        measured=measured,
        threshold=tuple(float(vector.min(initial=np.inf)) for vector in vectors),
        by_label=tuple(vectors),
        why=(),
        test=tables,
        validation=columns.validation[contender.name],
        count=count,
        of=of,
        frozen=over_seeds(frozen, columns.draws.of_seeds(contender.name)),
        anew=None,
        shift=None,
        own_chance=np.stack([chance, chance]),
        judged=tuple(
            judge(contender.name, run.seed, run.test, vector)
            for run, vector in zip(contender.runs, vectors, strict=True)
        ),
    )


_LOCK = threading.RLock()
_kept: dict[object, Columns] = {}


def _keep(key: object, columns: Columns) -> Columns:
    _kept[key] = columns
    while len(_kept) > _KEPT:
        del _kept[next(iter(_kept))]
    return columns


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(folder: Path) -> Columns:
    request, comparison = comparisons.read(folder)
    contenders = comparisons.contenders(folder, request)
    if (decided := comparisons.review(folder, request)) is not None:
        contenders = reviewed(contenders, decided)
    draws = replace(drawn(contenders, comparison.protocol.seed, comparison.protocol.resamples), validation=None)
    return laid_out(folder, comparison, contenders, request.rule, draws)


def _matched(columns: Columns, rule: Rule) -> Columns:
    contenders = tuple(
        replace(one, runs=tuple(
            replace(
                run, test=evaluate(run.test.truth, run.test.predictions, rule),
                validation=run.validation and evaluate(run.validation.truth, run.validation.predictions, rule),
            )
            for run in one.runs
        ))
        for one in columns.contenders
    )  # fmt: skip
    return laid_out(columns.folder, columns.comparison, contenders, rule, columns.draws)


def laid_out(
    folder: Path, comparison: Comparison, contenders: tuple[Contender, ...], rule: Rule, draws: Draws
) -> Columns:
    """Contenders that `rule` matched, ready to be counted."""
    return Columns(
        folder=folder,
        comparison=comparison,
        contenders=contenders,
        rule=rule,
        draws=draws,
        tables={one.name: tuple(scored(run.test) for run in one.runs) for one in contenders},
        validation={
            one.name: tuple(scored(run.validation) for run in one.runs if run.validation is not None)
            for one in contenders
        },
    )
