"""The figures behind the panel: at the stored thresholds those of comparison.json, at others those of `evaluate`."""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from defect_detect import comparing
from defect_detect import folder as comparisons
from defect_detect.errors import ConfigError, InputError
from defect_detect.evaluation.agreement import agreement
from defect_detect.evaluation.compare import drawn
from defect_detect.evaluation.comparison import Figures
from defect_detect.evaluation.entrant import enter
from defect_detect.evaluation.figures import figures
from defect_detect.evaluation.judged import Rule
from defect_detect.evaluation.missed import FIGURES
from defect_detect.evaluation.operating import parse_policy
from defect_detect.evaluation.sliced import sliced
from defect_detect.explore import columns, operating, rows, selected


def said(root: Path, split: str, seed: int) -> list[dict]:
    """Some defects found, one of them badly, and alarms where there is nothing."""
    rng = np.random.default_rng([seed, len(split)])
    truth = json.loads((root / f"{split}.json").read_text())
    hits = [
        {"image_id": one["image_id"], "category_id": one["category_id"], "score": float(rng.uniform(0.2, 1)),
         "bbox": [one["bbox"][0], one["bbox"][1], one["bbox"][2] * rng.uniform(0.4, 1), one["bbox"][3]]}
        for one in truth["annotations"] if rng.random() < 0.9
    ]  # fmt: skip
    return hits + [
        {"image_id": one["id"], "category_id": 1, "bbox": [1, 1, 9, 9], "score": float(rng.uniform(0.05, 0.6))}
        for one in truth["images"] if rng.random() < 0.5
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory) -> Path:
    out, files, given = tmp_path_factory.mktemp("runs") / "line", tmp_path_factory.mktemp("said"), []
    for seed, name in enumerate(("vendor-a", "vendor_b", "c")):
        for split in ("val", "test"):
            path = files / f"{name}-{split}.json"
            path.write_text(json.dumps(said(tiny, split, seed)))
            given.append(f"{name}:{split}={path}")
    comparing.run(
        comparing.Source(path=tiny), out, detectors=[], given=given, fiftyone=False, console=Console(quiet=True),
        judging=comparing.Judging(policy="fppi<=0.5", resamples=60),
    )  # fmt: skip
    return out


def test_at_the_stored_thresholds_figures_are_the_comparisons(folder):
    loaded = columns.load(folder)
    entrants = columns.at(loaded, operating.as_stored(loaded))
    assert loaded.names == tuple(one.name for one in loaded.comparison.detectors) == ("vendor-a", "vendor_b", "c")
    for entrant, detector in zip(entrants, loaded.comparison.detectors, strict=True):
        ours = figures(entrant)
        for name in FIGURES:
            here, there = getattr(ours, name), getattr(detector.test, name)
            assert (here.rate, here.this_threshold) == (there.rate, there.this_threshold)
            assert here.this_policy is None
        assert sliced(entrant, loaded.draws) == detector.slices
    assert agreement({one.name: one.judged for one in entrants}) == loaded.comparison.agreement
    assert 0 < figures(entrants[0]).fn_rate.rate.count < figures(entrants[0]).fn_rate.rate.of


def judged(folder: Path, policy: str, rule: Rule) -> list[Figures]:
    """What the evaluator says of the same files by this policy and rule."""
    request = comparisons.read(folder)[0]
    found = comparisons.contenders(folder, msgspec.structs.replace(request, iou=rule.iou))
    draws = drawn(found, request.seed, request.resamples)
    return [figures(enter(one, parse_policy(policy), draws)) for one in found]


def test_another_threshold_is_what_judging_at_that_score_says(folder):
    loaded = columns.load(folder)
    entrants = columns.at(loaded, operating.at_score(loaded, 0.55))
    expected = judged(folder, "score=0.55", Rule())
    assert [figures(entrant) for entrant in entrants] == expected
    one = columns.at(loaded, operating.at_score(loaded, {"vendor-a": 0.55, "vendor_b": 0.1, "c": 0.9}))
    assert figures(one[0]) == expected[0]
    assert figures(one[1]).fn_rate.rate.count < expected[1].fn_rate.rate.count
    assert [entrant.name for entrant in columns.at(loaded, {"c": (np.full(9, 0.5),)})] == ["c"]


def test_policies_choose_what_the_comparison_chooses(folder):
    loaded = columns.load(folder)
    chosen, why = operating.by_policy(loaded, "fppi<=0.5")
    stored = operating.as_stored(loaded)
    assert why == {}
    assert all(np.array_equal(chosen[name][0], stored[name][0]) for name in loaded.names)
    none, why = operating.by_policy(loaded, "recall>=1")
    assert none == dict.fromkeys(loaded.names, ())
    assert all("best recall" in reason for reason in why.values())
    assert figures(columns.at(loaded, none)[0]).fn_rate.rate.of == 0
    silent = figures(columns.at(loaded, operating.at_score(loaded, np.inf))[0])
    assert (silent.fn_rate.rate.value, silent.fppi.rate.value) == (1, 0)
    by_class, _ = operating.by_policy(loaded, "fppi<=0.5", per_class_too=True)
    assert len(set(by_class["c"][0].tolist())) > 1
    with pytest.raises(ConfigError):
        operating.by_policy(loaded, "nonsense")


def test_another_rule_is_what_judging_by_it_says(folder):
    loaded = columns.load(folder)
    loose = columns.under(loaded, Rule(iou=0.3))
    assert columns.under(loaded, Rule(iou=0.3)) is loose
    assert columns.under(loaded, Rule()) is loaded
    expected = judged(folder, "score=0.3", Rule(iou=0.3))
    assert [figures(entrant) for entrant in columns.at(loose, operating.at_score(loose, 0.3))] == expected
    here = columns.at(loaded, operating.at_score(loaded, 0.3))[0]
    assert figures(here).fn_rate.rate.count > expected[0].fn_rate.rate.count


def test_a_comparison_is_read_once_until_it_changes(folder, tmp_path):
    assert columns.load(folder) is columns.load(folder / "." / "")
    copy = shutil.copytree(folder, tmp_path / "copy")
    request = (copy / "request.json").read_text()
    dataset = (folder / json.loads(request)["dataset"]).resolve()
    (copy / "request.json").write_text(json.dumps(json.loads(request) | {"dataset": str(dataset)}))
    first = columns.load(copy)
    (copy / "comparison.json").write_text((copy / "comparison.json").read_text() + "\n")
    assert columns.load(copy) is not first
    with pytest.raises(InputError):
        columns.load(tmp_path / "nowhere")


# What a click means


def test_what_is_selected_is_what_was_counted(folder):
    loaded = columns.load(folder)
    entrants = columns.at(loaded, operating.as_stored(loaded))
    for told in loaded.comparison.agreement.subsets:
        assert selected.subset(entrants, told.missed_by).sum() == told.count
    lost = selected.missed(entrants)
    for entrant, detector in zip(entrants, loaded.comparison.detectors, strict=True):
        assert lost[entrant.name].sum() == detector.test.fn_rate.rate.count
        for reason, count in detector.miss_reasons.items():
            assert selected.for_reason(entrant, reason).sum() == count
        for part in detector.slices:
            where = selected.in_part(loaded, part.by, part.value)
            assert (where.sum(), (where & lost[entrant.name]).sum()) == (part.fn_rate.rate.of, part.fn_rate.rate.count)
    with pytest.raises(ConfigError, match="slice"):
        selected.in_part(loaded, "class", "no such class")


def test_misses_are_listed_in_the_order_asked_for(folder):
    loaded = columns.load(folder)
    entrants = columns.at(loaded, operating.as_stored(loaded))
    every = np.ones(len(loaded.truth.defects), np.bool_)
    total = int(np.any(list(selected.missed(entrants).values()), axis=0).sum())
    listed = selected.misses(loaded, entrants, every, most=10_000)
    assert len(listed) == total == len({one.label_id for one in listed}) > 3
    assert [one.long_side for one in listed] == sorted((one.long_side for one in listed), reverse=True)
    assert selected.misses(loaded, entrants, every, start=1, most=2) == listed[1:3]
    classes = [one.category for one in selected.misses(loaded, entrants, every, by="class", descending=False)]
    assert classes == sorted(classes)
    scores = [
        max((score for score in one.candidate_score.values() if score is not None), default=-1)
        for one in selected.misses(loaded, entrants, every, by="score")
    ]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) == -1 < max(scores)
    for one in listed:
        assert set(one.reason) == set(one.missed_by) == set(one.candidate_score)
        assert all(one.reason.values())
    ids = selected.label_ids(loaded, selected.subset(entrants, loaded.names))
    assert set(ids) == {one.label_id for one in listed if len(one.missed_by) == 3}
    assert ids[0] == rows.defect_id(loaded.truth, int(np.flatnonzero(selected.subset(entrants, loaded.names))[0]))
    with pytest.raises(ConfigError, match="size"):
        selected.misses(loaded, entrants, every, by="mood")
