"""Reviews of labels."""

# ruff: noqa: ARG005 - a row may put something else in the place of what it is given
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from defect_detect.data import coco
from tests.bad_inputs.cases import Case, Place, coded

Lines = list[dict[str, Any]]


def _lines(place: Place) -> Lines:
    """A header, a decision on the first defect that counts, and one on a place."""
    truth = coco.load(place.sound.dataset, "test")
    row = int(truth.defects.counts.nonzero()[0][0])
    image, names = truth.images.file[truth.defects.image[row]], [one.name for one in truth.categories]
    category = names[truth.defects.label[row]]
    return [
        {"review": 1, "dataset": truth.fingerprint, "split": "test"},
        {"decision": "label error", "image": image, "category": category, "box": truth.defects.box[row].tolist(),
         "annotation": int(truth.defects.id[row])},
        {"decision": "unlabelled defect", "image": image, "category": category, "box": [1, 1, 5, 5]},
    ]  # fmt: skip


def _row(name: str, change: Callable[[Lines], object], outcome: str, says: str) -> Case:
    def given(place: Place) -> list[object]:
        lines = _lines(place)
        made = change(lines)
        content = made if isinstance(made, bytes) else b"\n".join(map(coded, lines))
        said = place.sound.said
        return ["evaluate", place.sound.dataset, "--predictions", f"a:val={said['val']}",
             f"a:test={said['test']}", "--out",
                place.out, "--no-fiftyone", "--resamples", "20", "--review", place.file("review.jsonl",
                     content)]  # fmt: skip

    return Case(kind="reviews", name=name, given=given, outcome=outcome, says=says)


def _at(number: int, **fields: Any) -> Callable[[Lines], object]:
    return lambda lines: lines[number].update(fields)


def _twice(lines: Lines) -> None:
    lines.append({**lines[1], "decision": "true miss"})


CASES = (
    _row("empty file", lambda lines: b"", "refused", "header of a review"),
    _row("binary", lambda lines: bytes(range(256)), "refused", "header of a review"),
    _row("not UTF-8", lambda lines: b"\n".join(map(coded, lines)).replace(b"label error", b"label \xff"), "refused",
         "review.jsonl:2"),
    _row("cut off", lambda lines: b"\n".join(map(coded, lines))[:-5], "refused", "review.jsonl:3"),
    _row("nonsense in a line", lambda lines: b"\n".join([*map(coded, lines), b"nonsense"]), "refused",
         "review.jsonl:4"),
    _row("header missing", lambda lines: lines.pop(0) and None, "refused", "review.jsonl:1"),
    _row("another version", _at(0, review=2), "refused", "version 1"),
    _row("another dataset", _at(0, dataset="0" * 64), "refused", "review again"),
    _row("another split", _at(0, split="val"), "refused", "val split"),
    _row("unknown field", _at(1, decison="x"), "refused", "decison"),
    _row("key twice", lambda lines: b"\n".join(map(coded, lines)).replace(b'"decision"', b'"decision": "", "decision"',
         1), "refused", "twice"),
    _row("unknown decision", _at(1, decision="label eror"), "refused", "Did you mean 'label error'"),
    _row("unknown picture", _at(2, image="none.png"), "refused", "none.png"),
    _row("unknown annotation", _at(1, annotation=987654), "refused", "987654"),
    _row("annotation of another picture", _at(1, image="images/none.png"), "refused", "annotation of this picture"),
    _row("unknown class", _at(2, category="scrach"), "refused", "scrach"),
    _row("box of NaN", _at(2, box=[float("nan"), 1, 2, 3]), "refused", "review.jsonl:3"),
    _row("box turned", _at(2, box=[5, 5, 1, 1]), "refused", "a box with an area"),
    _row("box outside", _at(2, box=[500, 500, 510, 510]), "refused", "in the picture"),
    _row("true box of 1e300", _at(2, true_box=[1e300, 1, 1e301, 3]), "refused", "in the picture"),
    _row("two decisions", _twice, "refused", "one decision"),
    _row("somebody's prediction that isn't", _at(2, detector="a"), "refused", "none there"),
    _row("a sound one", lambda lines: None, "sound", ""),
)  # fmt: skip
