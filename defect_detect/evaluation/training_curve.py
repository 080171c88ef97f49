"""Whether a training ended before its detector was done learning."""

from __future__ import annotations

from collections.abc import Sequence

STILL_IMPROVING = 0.01
"""Rise of the best validation score (mean FROC recall) over the last fifth of the epochs."""
STILL_LEARNING = 0.2
"""Share of the best score that was gained in the last half of the epochs."""


def under_trained(scores: Sequence[float], stopped_early: bool) -> bool:  # noqa: FBT001 - the worker hands both over
    """Whether validation was still improving at the last epoch; `scores` are the validation scores by epoch.

    A training that patience ended was done. Else the best score of all epochs is held against the best
    before the last fifth of them (at least one epoch): more than 0.01 above it, the detector was still
    improving. A learning rate that falls to nothing flattens the end of any training, however short; so
    it was still improving too when the best epoch is in the last fifth and more than a fifth of the best
    score was gained in the last half. Fewer than two epochs can't show that training was done, so they
    count as under-trained.

    >>> under_trained([0.1 * epoch for epoch in range(10)], stopped_early=False)
    True
    """
    if stopped_early:
        return False
    if len(scores) < 2:  # noqa: PLR2004 - one point is no curve
        return True
    last_fifth = max(len(scores) // 5, 1)
    best, before = max(scores), max(scores[:-last_fifth])
    late = max(scores[: len(scores) - len(scores) // 2])
    still_learning = best > before and best - late > STILL_LEARNING * best
    return bool(best - before > STILL_IMPROVING or still_learning)
