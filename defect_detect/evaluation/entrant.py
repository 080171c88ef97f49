"""A contender with everything that its figures, pairs and slices are made from."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detect.errors import NotMeasurable, Unreachable
from defect_detect.evaluation import per_class, per_class_counts
from defect_detect.evaluation.judged import Contender, Judged
from defect_detect.evaluation.missed import FIGURES, Scored, opportunities, scored, tally
from defect_detect.evaluation.operating import Policy, choose, threshold_of
from defect_detect.evaluation.reasons import judge
from defect_detect.evaluation.recount import recount
from defect_detect.evaluation.resampling import over_seeds, ratio, weighted
from defect_detect.evaluation.shift import shift
from defect_detect.evaluation.spread import Spread, Trained, chosen_anew, own_chance, sampled
from defect_detect.tables import Column, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Resamples of the sampling units, the same for all contenders.

    test, validation  (B, U) uint8, how often each unit is drawn; validation None: nothing was predicted on it
    """

    seed: int
    test: Column
    validation: Column | None

    def of_seeds(self, name: str) -> np.random.Generator:
        """The generator that draws this contender's seeds, whatever its place among the contenders."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contender at its operating point.

    status     ok | fixed | unreachable | not_measurable
    measured   whether there are figures: an unreachable budget counts as all missed, an unreachable recall as n/a
    threshold  one for each seed, inf where there is none; the lowest of the classes' where they have their own
    by_label   (K,) for each seed, the threshold of each class
    count, of  (S, U, 7) and (U, 7): FIGURES per seed and unit
    frozen     (B, 7) resampled rates, the thresholds staying
    anew       (B, 7) resampled rates, the thresholds chosen anew; None for a fixed score
    shift      (B, 7) how these thresholds alone change the rates, test staying as it is; NaN where that isn't known
    own_chance  (2, 7) `Trained.chance` of the rates, the thresholds staying and chosen anew
    """

    contender: Contender
    status: str
    measured: bool
    threshold: tuple[float, ...]
    by_label: tuple[Floats, ...]
    why: tuple[str, ...]
    test: tuple[Scored, ...]
    validation: tuple[Scored, ...]
    count: Ints
    of: Ints
    frozen: Floats
    anew: Floats | None
    shift: Floats | None
    own_chance: Floats
    judged: tuple[Judged, ...]

    @property
    def name(self) -> str:
        """The contender's."""
        return self.contender.name

    @property
    def seeds(self) -> int:
        """How many trained models stand behind it."""
        return len(self.test)

    @property
    def under_trained(self) -> bool:
        """Whether any of its models was still improving when training ended."""
        return any(run.manifest is not None and run.manifest.under_trained for run in self.contender.runs)

    @property
    def drawn(self) -> Floats:
        """The resampled rates that the verdict uses."""
        return self.frozen if self.anew is None else self.anew

    def spread(self, figure: str, *, policy: bool) -> Spread:
        """How far the rate may be off: at these thresholds, or with those that the policy would choose anew."""
        return spread_of(figure, [(1, self)], policy=policy)

    def trained(self, column: int) -> Trained:
        """The models behind the rate of one of FIGURES, by its place."""
        rates = self.count[:, :, column].sum(axis=1) / max(int(self.of[:, column].sum()), 1)
        return Trained(rates=rates, chance=float(self.own_chance[0, column]), anew=float(self.own_chance[1, column]))

    def rate(self, figure: str) -> float:
        """The mean over seeds of one of FIGURES; NaN where there is nothing to count."""
        column = FIGURES.index(figure)
        of = int(self.of[:, column].sum())
        return float(self.count[:, :, column].sum()) / (of * self.seeds) if of else float("nan")

    def per_unit(self, figure: str) -> tuple[Floats, Floats]:
        """(U,) mean count over seeds and (U,) denominator."""
        column = FIGURES.index(figure)
        return self.count[:, :, column].mean(axis=0), self.of[:, column].astype(float)


def spread_of(figure: str, signed: Sequence[tuple[int, Entrant]], *, policy: bool) -> Spread:
    """The spread of a sum of rates, each with its sign: of one contender's, or of the difference of two.

    `policy`: with the thresholds chosen anew, where a policy chooses them.
    """
    column = FIGURES.index(figure)
    units = int((signed[0][1].of[:, column] > 0).sum())
    frozen = np.sum([sign * one.frozen[:, column] for sign, one in signed], axis=0)
    trained = [one.trained(column) for _, one in signed]
    anew = [sign * one.anew[:, column] for sign, one in signed if one.anew is not None]
    shifts = [sign * one.shift[:, column] for sign, one in signed if one.shift is not None]
    if not (policy and anew):
        return sampled(frozen, units, trained)
    staying = sampled(frozen, units, trained, anew=True)
    # A baseline may have been validated on other units: the fewer speak for how well the change is known.
    on = min(len(one.validation[0].units) for _, one in signed if one.validation)
    return chosen_anew(staying, (frozen, np.sum(anew, axis=0)), np.sum(shifts, axis=0), on, trained)


def enter(contender: Contender, policy: Policy, draws: Draws, *, used: Sequence[Floats] = ()) -> Entrant:
    """Choose the contender's thresholds and count what it misses, as it is and in every resample.

    `used`: the (K,) thresholds of each seed that the policy chose at another time, which stay; resamples choose anew.
    """
    test = tuple(scored(run.test) for run in contender.runs)
    validation = tuple(scored(run.validation) for run in contender.runs if run.validation is not None)
    vectors, statuses, why = _thresholds(policy, test, validation)
    if used:
        vectors = list(used)
        statuses = [_status_then(status, vector) for status, vector in zip(statuses * len(used), used, strict=False)]
    of = opportunities(test[0])
    count = np.stack([tally(table, vector) for table, vector in zip(test, vectors, strict=True)])
    *drawn, below = np.split(weighted(draws.test, np.concatenate([*count, of], axis=1)), len(count) + 1, axis=1)
    frozen = ratio(np.stack(drawn), below)
    anew = shifted = None
    chance = own_chance(frozen)
    of_anew = chance
    if policy.kind != "score" and draws.validation is not None:
        chosen = [_chosen(policy, on, draws.validation) for on in validation]
        count_again = per_class_counts.recount if policy.per_class else recount
        anew = np.stack([count_again(table, s, draws.test) for table, s in zip(test, chosen, strict=True)])
        anew = ratio(anew, below)
        of_anew = own_chance(anew)
        anew = over_seeds(anew, draws.of_seeds(contender.name))
        shifted = np.stack([shift(table, used, s) for table, used, s in zip(test, vectors, chosen, strict=True)])
        shifted = over_seeds(shifted, draws.of_seeds(contender.name))
    worst = next((s for s in ("not_measurable", "unreachable") if s in statuses), statuses[0])
    return Entrant(
        contender=contender,
        status=worst,
        measured=worst != "not_measurable" and (worst != "unreachable" or policy.kind in ("fppi", "overkill")),
        threshold=tuple(float(vector.min(initial=np.inf)) for vector in vectors),
        by_label=tuple(vectors),
        why=tuple(why),
        test=test,
        validation=validation,
        count=count,
        of=of,
        frozen=over_seeds(frozen, draws.of_seeds(contender.name)),
        anew=anew,
        shift=shifted,
        own_chance=np.stack([chance, of_anew]),
        judged=tuple(
            judge(contender.name, run.seed, run.test, vector)
            for run, vector in zip(contender.runs, vectors, strict=True)
        ),
    )


def _thresholds(
    policy: Policy, test: tuple[Scored, ...], validation: tuple[Scored, ...]
) -> tuple[list[Floats], list[str], list[str]]:
    labels = len(test[0].evaluation.truth.categories)
    if policy.kind == "score":
        return [np.full(labels, policy.value)] * len(test), ["fixed"], []
    vectors: list[Floats] = []
    statuses, why = [], []
    for table in validation:
        try:
            one = per_class.thresholds_of if policy.per_class else threshold_of
            vectors.append(np.broadcast_to(one(policy, table), labels))
            statuses.append("ok")
        except Unreachable as error:
            vectors.append(np.full(labels, np.inf))
            statuses.append("not_measurable" if isinstance(error, NotMeasurable) else "unreachable")
            why.append(str(error))
    return vectors, statuses, why


def _status_then(today: str, used: Floats) -> str:
    """Of thresholds that are given: there were some, or there were none."""
    if np.isfinite(used).any():
        return "fixed" if today == "fixed" else "ok"
    return "unreachable" if today in ("ok", "fixed") else today


def _chosen(policy: Policy, on: Scored, weights: Column) -> Floats:
    """(B,) or (B, K) the thresholds that each resample of validation chooses."""
    if policy.per_class:
        return per_class.choose_near(policy, on, weights)
    chosen = choose(policy, on, weights)
    if policy.kind in ("recall", "f1"):
        # A resample in which the aim can't be met comes as close to it as the scores allow.
        chosen = np.where(np.isfinite(chosen), chosen, on.evaluation.predictions.score.min(initial=np.inf))
    return chosen
