"""What is held against each other must have been measured alike, as far as anybody can tell."""

import dataclasses

import msgspec
import pytest

from defect_detect.errors import NotComparable
from defect_detect.evaluation import contract
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from tests import scenes
from tests.test_compare import manifest

TRUTH = scenes.dataset(image=[0], label=[0], box=[[0, 0, 10, 10]], images=3)


def contender(name, *, scores=(0.5,), entry=None, of_validation=None):
    said = scenes.predictions(
        image=[0] * len(scores), label=[0] * len(scores), box=[[0, 0, 10, 10]] * len(scores), score=scores
    )
    one = evaluate(TRUTH, said)
    run = Run(seed=0, test=one, validation=one, manifest=entry, validation_manifest=of_validation)
    return Contender(name=name, runs=(run,))


def changed(name, **how):
    return msgspec.structs.replace(manifest(name), **how)


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("model", {"checkpoint_sha256": "other"}),
        ("NMS", {"nms_iou": 0.7}),
        ("input size", {"input_size": "128"}),
        ("score floor", {"score_floor": 0.1}),
        ("tiling", {"tiling": "2x2"}),
    ],
)
def test_a_threshold_comes_from_the_same_model_in_the_same_state(what, how) -> None:
    odd = contender("a", entry=manifest("a"), of_validation=changed("a", split="val", **how))

    with pytest.raises(NotComparable, match=f"{what} of a, seed 0"):
        contract.check([odd])
    (said,) = contract.check([odd], allow=True)
    assert "on validation" in said
    assert contract.check([contender("a", entry=manifest("a"), of_validation=changed("a", split="val"))]) == []


def test_a_plain_file_that_shows_another_floor_or_cap_is_refused() -> None:
    known = contender("known", entry=changed("known", score_floor=0.05, max_detections=2))

    with pytest.raises(NotComparable) as refused:
        contract.check([known, contender("plain", scores=(0.9, 0.4, 0.01))])
    assert [str(fault).partition(":")[0] for fault in refused.value.faults] == ["score floor", "cap on detections"]
    # A higher lowest score and a smaller count prove nothing.
    assert contract.check([known, contender("plain", scores=(0.9, 0.4))]) == []
    assert contract.check([contender("plain", scores=(0.9, 0.01))]) == []


def test_a_plain_file_is_taken_with_what_can_be_seen() -> None:
    seen = contract.unchecked([contender("plain", scores=(0.9, 0.4)), contender("known", entry=manifest("known"))])

    assert list(seen) == ["plain"]
    assert "lowest score 0.4" in seen["plain"]
    assert "at most 2 predictions in an image, none in 2 of 3 images" in seen["plain"]


def test_other_truth_is_never_allowed() -> None:
    other = contender("b")
    moved = dataclasses.replace(other.runs[0].test.truth, fingerprint="other")
    run = dataclasses.replace(other.runs[0], test=evaluate(moved, other.runs[0].test.predictions))

    with pytest.raises(NotComparable, match="ground truth"):
        contract.check([contender("a"), dataclasses.replace(other, runs=(run,))], allow=True)
