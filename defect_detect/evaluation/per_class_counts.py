"""The figures of each resample at thresholds of its own, one for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from defect_detect.evaluation.matching import Pairs, assign, overlapping
from defect_detect.evaluation.missed import FIGURES, Scored
from defect_detect.evaluation.per_class_cost import alarmed, first_alarms
from defect_detect.tables import Bools, Column, Floats, Ints

_CELLS = 4_000_000


def recount(table: Scored, threshold: Floats, weights: Column) -> Floats:
    """(B, 7) the numerators of FIGURES in each resample (B, U) at its thresholds (B, K).

    The same as `weights[b] @ tally(table, threshold[b])`, row by row.
    """
    widest = max(len(table.alarms.score), len(table.defects), weights.shape[1], 1)
    step = max(_CELLS // widest, 1)
    rows = [slice(start, start + step) for start in range(0, len(weights), step)]
    highest = first_alarms(table), first_alarms(table, table.alarms.touches)
    counted = np.concatenate([
        _counted(table, threshold[part], weights[part].astype(np.int64), highest) for part in rows
    ])  # fmt: skip
    counted[:, FIGURES.index("fn_rate_any_class")] = _missed_any(table, threshold, weights)
    return counted


def _counted(table: Scored, threshold: Floats, weights: Column, highest: tuple[Floats, Floats]) -> Floats:
    """All but the any-class figure; `highest` are `first_alarms` of all, and of those that touch a defect."""
    alarms, groups = table.alarms, table.units
    missed = ~(np.isfinite(table.found_at) & (table.found_at >= threshold[:, table.label]))
    # Whatever scores less than all thresholds never counts.
    some = slice(0, int(np.searchsorted(-alarms.score, -threshold.min(initial=np.inf), side="right")))
    false = alarms.false[some] & (alarms.score[some] >= threshold[:, alarms.label[some]])
    of_false = weights[:, alarms.unit[some]]
    units, touched = (alarmed(one, threshold) for one in highest)
    columns = {
        "fn_rate": (weights[:, table.unit] * missed).sum(axis=1),
        "escape_rate": (weights * (groups.defective & ~units)).sum(axis=1),
        "alarmed_elsewhere": (weights * (groups.defective & units & ~touched)).sum(axis=1),
        "overkill_rate": (weights * (groups.defect_free & units)).sum(axis=1),
        "fppi": (of_false * false).sum(axis=1),
        "fppi_defect_free": (of_false * (false & table.free_image[alarms.image[some]])).sum(axis=1),
    }
    nothing = np.zeros(len(weights))
    return np.stack([columns.get(name, nothing) for name in FIGURES], axis=1).astype(np.float64)


def _missed_any(table: Scored, threshold: Floats, weights: Column) -> Floats:
    """(B,) the defects that no counting prediction of whatever label finds.

    With a threshold for each class the counting predictions are no prefix by score, so each picture is matched anew,
    but only once for every set of its predictions that counts in some resample.
    """
    units, sets = table.units, _sets(table, threshold)
    found = _found_in(table, sets)
    always = np.zeros(len(units), np.int64)
    total: Floats = (weights @ units.defects).astype(np.float64)
    place = 0
    for one in sets:
        unit, counts = units.of_image[one.image], found[place : place + len(one.counting)]
        place += len(one.counting)
        if len(counts) == 1:
            always[unit] += counts[0]
        else:
            total -= weights[:, unit] * counts[one.which]
    return total - weights @ always


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sets:
    """The sets of a picture's predictions that count in some resample.

    predictions  (P,) int64, rows of its predictions that are near a defect
    counting     (S, P) bool, the sets
    which        (B,) int64, the set of each resample
    """

    image: int
    predictions: Ints
    counting: Bools
    which: Ints


def _sets(table: Scored, threshold: Floats) -> list[_Sets]:
    evaluation = table.evaluation
    said = evaluation.predictions
    # Those that touch no defect neither find one nor take one away.
    near = np.unique(overlapping(evaluation.truth, said).prediction)
    score, label = said.score[near], said.label[near]
    unsure = (score < threshold.max(axis=0)[label]) & (score >= threshold.min(axis=0)[label])
    edges = np.flatnonzero(np.append(True, np.diff(said.image[near]) != 0)) if len(near) else np.zeros(0, np.int64)
    found = []
    for start, end in zip(edges.tolist(), [*edges[1:].tolist(), len(near)], strict=False):
        inside = slice(start, end)
        rows = threshold if unsure[inside].any() else threshold[:1]
        bits = np.packbits(score[inside] >= rows[:, label[inside]], axis=1)
        kinds, which = np.unique(bits, axis=0, return_inverse=True)
        counting = np.unpackbits(kinds, axis=1, count=end - start).astype(np.bool_)
        found.append(
            _Sets(image=int(said.image[near[start]]), predictions=near[inside], counting=counting, which=which)
        )
    return found


def _found_in(table: Scored, sets: Sequence[_Sets]) -> Ints:
    """(number of all sets,) how many defects that count each one finds, in one matching of copies of the pictures."""
    evaluation = table.evaluation
    defects, said, rule = evaluation.truth.defects, evaluation.predictions, evaluation.any_class.rule
    pairs = overlapping(evaluation.truth, said, rule.geometry)
    by_image = np.argsort(defects.image, kind="stable")
    edges = np.searchsorted(defects.image[by_image], [[one.image, one.image + 1] for one in sets])
    prediction, defect, near, copy, of_defect = [], [], [], [], []
    copies = at_prediction = at_defect = 0
    for one, (start, end) in zip(sets, np.reshape(edges, (-1, 2)).tolist(), strict=True):
        theirs = by_image[start:end]
        own = slice(*np.searchsorted(pairs.prediction, [one.predictions[0], one.predictions[-1] + 1]).tolist())
        p, d = np.searchsorted(one.predictions, pairs.prediction[own]), np.searchsorted(theirs, pairs.defect[own])
        for counting in one.counting:
            keep = counting[p]
            prediction.append(one.predictions)
            defect.append(theirs)
            of_defect.append(np.full(len(theirs), copies))
            copy.append(np.full(len(one.predictions), copies))
            near.append((p[keep] + at_prediction, d[keep] + at_defect, pairs.overlap[own][keep]))
            copies, at_prediction, at_defect = copies + 1, at_prediction + len(one.predictions), at_defect + len(theirs)
    if not copies:
        return np.zeros(0, np.int64)
    # Nothing but places, labels and scores is asked of the copies.
    their = replace(replace(defects, region=None).take(np.concatenate(defect)), image=np.concatenate(of_defect))
    ours = replace(replace(said, region=None).take(np.concatenate(prediction)), image=np.concatenate(copy))
    first, second, overlap = (np.concatenate(column) for column in zip(*near, strict=True))
    matched = assign(their, ours, Pairs(prediction=first, defect=second, overlap=overlap), rule)
    return np.bincount(their.image[matched.prediction_of >= 0], minlength=copies)
