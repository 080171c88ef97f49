"""Which defects a click means, and the list of misses: over what `columns.at` gives.

Detectors with several seeds miss what more than half of their seeds miss, as in the agreement table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.errors import ConfigError, Fault
from defect_detect.evaluation import agreement
from defect_detect.evaluation.entrant import Entrant
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.slices import long_side, parts, severity, size_bin
from defect_detect.explore import rows
from defect_detect.explore.columns import Columns
from defect_detect.tables import Bools, Floats, Ints

ORDERS = ("size", "score", "class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A defect that some detector misses, for a list.

    long_side        of its box, in the dataset's unit
    missed_by        detectors
    reason           detector that misses it -> why its first seed that does so misses it
    candidate_score  the same -> score of what explains that miss; None where nothing does
    """

    label_id: str
    image: str
    category: str
    long_side: float
    size: str
    severity: str
    missed_by: tuple[str, ...]
    reason: Mapping[str, str]
    candidate_score: Mapping[str, float | None]


def missed(entrants: Sequence[Entrant]) -> Mapping[str, Bools]:
    """Detector -> (G,) bool: the defect counts, and the detector misses it."""
    return agreement.missed_by([one for entrant in entrants for one in entrant.judged])


def subset(entrants: Sequence[Entrant], missed_by: Collection[str]) -> Bools:
    """(G,) bool: the defects that count and that exactly these of the detectors miss."""
    of = missed(entrants)
    exactly = entrants[0].test[0].evaluation.truth.defects.counts.copy()
    for name, misses in of.items():
        exactly &= misses if name in missed_by else ~misses
    return exactly


def in_part(columns: Columns, by: str, value: str) -> Bools:
    """(G,) bool: the defects that count in a slice, by the names that `sliced` gives it.

    Raises:
        ConfigError: there is no such slice.
    """
    for part in parts(columns.truth, columns.comparison.protocol.sizes):
        if (part.by, part.value) == (by, value):
            within = part.defects.copy()
            if part.images is not None:
                within &= columns.truth.defects.counts
            return within
    raise ConfigError(Fault(where="slice", expected="one of this comparison", found=f"{by} = {value}"))


def for_reason(entrant: Entrant, reason: str) -> Bools:
    """(G,) bool: the defects that the detector misses, the first of its seeds that does so for this reason.

    So every defect that it misses has one reason, which is also what the list of misses tells.
    """
    first = _first_that_misses(entrant.judged)
    told = np.stack([one.reason for one in entrant.judged])[first, np.arange(len(first))]
    return np.asarray(missed([entrant])[entrant.name] & (told == reason))


def label_ids(columns: Columns, where: Bools) -> list[str]:
    """The ids that these defects have in the comparison's FiftyOne dataset."""
    return [rows.defect_id(columns.truth, row) for row in np.flatnonzero(where).tolist()]


def misses(
    columns: Columns,
    entrants: Sequence[Entrant],
    where: Bools,
    *,
    by: str = "size",
    descending: bool = True,
    start: int = 0,
    most: int = 50,
) -> list[Miss]:
    """`most` of the defects of `where` that a detector misses, from `start` on.

    `by`: `size` (long side), `score` (the best of the candidates; none is least) or `class` (its name).

    Raises:
        ConfigError: `by` is none of these.
    """
    if by not in ORDERS:
        raise ConfigError(Fault(where="order", expected=" | ".join(ORDERS), found=repr(by)))
    of = missed(entrants)
    listed = np.flatnonzero(where & np.any(list(of.values()), axis=0))
    first = {name: _first_that_misses(entrant.judged) for name, entrant in zip(of, entrants, strict=True)}
    longest = long_side(columns.truth)
    names = np.array([category.name for category in columns.truth.categories], np.str_)
    keys = {
        "size": lambda: longest[listed],
        "score": lambda: _best(entrants, of)[listed],
        "class": lambda: np.argsort(np.argsort(names))[columns.truth.defects.label[listed]].astype(np.float64),
    }
    key: Floats = keys[by]()
    order = np.lexsort((columns.truth.defects.id[listed], -key if descending else key))
    page = listed[order][start : start + most]
    severities, sizes = severity(columns.truth), size_bin(columns.truth, columns.comparison.protocol.sizes)
    judged = {name: entrant.judged for name, entrant in zip(of, entrants, strict=True)}

    def told(row: int) -> Miss:
        by_whom = tuple(name for name, misses in of.items() if misses[row])
        seed = {name: judged[name][first[name][row]] for name in by_whom}
        return Miss(
            label_id=rows.defect_id(columns.truth, row),
            image=columns.truth.images.file[columns.truth.defects.image[row]],
            category=str(names[columns.truth.defects.label[row]]),
            long_side=float(longest[row]),
            size=str(sizes[row]),
            severity=str(severities[row]),
            missed_by=by_whom,
            reason={name: str(one.reason[row]) for name, one in seed.items()},
            candidate_score={name: _score(one, row) for name, one in seed.items()},
        )

    return [told(row) for row in page.tolist()]


def _first_that_misses(judged: Sequence[Judged]) -> Ints:
    """(G,) the place of the first seed that doesn't find the defect; 0 where all do."""
    return np.asarray(np.argmin([one.found for one in judged], axis=0))


def _score(one: Judged, row: int) -> float | None:
    candidate = int(one.candidate[row])
    return None if candidate < 0 else float(one.evaluation.predictions.score[candidate])


def _best(entrants: Sequence[Entrant], of: Mapping[str, Bools]) -> Floats:
    """(G,) the highest score of a candidate among the runs of detectors that miss the defect; -inf: none."""
    best = np.full(len(next(iter(of.values()))), -np.inf)
    for entrant in entrants:
        for one in entrant.judged:
            explains = of[entrant.name] & ~one.found & (one.candidate >= 0)
            score = one.evaluation.predictions.score[one.candidate[explains]]
            best[explains] = np.maximum(best[explains], score)
    return best
