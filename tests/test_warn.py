"""Whether a threshold can be leaned on, and whether it kept on test what it kept on validation."""

from __future__ import annotations

import dataclasses

import pytest

from defect_detect.evaluation.matching import evaluate
from tests.test_compare import compared, contender, detector, split


def moved(name, *, on_test, **how):
    """A contender whose test split is another line's: other alarms, other recall than on validation."""
    one = contender(name, **how)
    test = split("test")
    run = dataclasses.replace(one.runs[0], test=evaluate(test, detector(test, [1, 2], **on_test)))
    return dataclasses.replace(one, runs=(run,))


@pytest.mark.parametrize(
    ("policy", "how", "on_test", "said"),
    [
        ("fppi<=0.1", {"recall": 0.9, "alarms": 0.1}, {"recall": 0.9, "alarms": 0.6}, "on test FPPI "),
        ("overkill<=0.2", {"recall": 0.9, "alarms": 0.2}, {"recall": 0.9, "alarms": 0.9}, "on test the overkill "),
        ("recall>=0.8", {"recall": 0.95}, {"recall": 0.4}, "on test the FN rate "),
    ],
)  # fmt: skip
def test_a_threshold_that_did_not_transfer_is_said(policy, how, on_test, said):
    off, _ = compared(moved("off", on_test=on_test, **how), contender("kept", **how), policy=policy)
    text = " ".join(off.warnings)

    assert f"off keeps {policy} on validation, but {said}" in text
    assert text.count("did not transfer") == 1


def test_other_policies_promise_nothing_that_could_fail_to_transfer():
    f1, _ = compared(moved("off", on_test={"recall": 0.2, "alarms": 0.9}, recall=0.9), policy="f1")

    assert "did not transfer" not in " ".join(f1.warnings)


@pytest.mark.parametrize(
    ("policy", "few", "enough"),
    [
        ("fppi<=0.05", "fppi<=0.05 on 120 validation images is 6 false alarms", "fppi<=0.1"),
        ("overkill<=0.1", "overkill<=0.1 on 60 defect-free validation units is 6 needless rejects", "overkill<=0.2"),
        ("recall>=0.05", "recall>=0.05 on 120 validation defects is 6 found", "recall>=0.5"),
    ],
)
def test_under_ten_events_a_threshold_is_uncertain(policy, few, enough):
    one = contender("one", recall=0.9, alarms=0.3)

    assert f"{few}: the threshold is itself uncertain." in compared(one, policy=policy)[0].warnings
    assert "uncertain" not in " ".join(compared(one, policy=enough)[0].warnings)
