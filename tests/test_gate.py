"""Conditions that fail a run: the language, and real runs with their exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from defect_detect import folder, gating
from defect_detect.data import demo, normalize
from defect_detect.errors import ConfigError
from defect_detect.evaluation import baseline, gate
from defect_detect.evaluation.entrant import Draws, Entrant, enter
from defect_detect.evaluation.froc_figures import DrawnFroc
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.pairs import pairs
from defect_detect.evaluation.resampling import draw
from tests import scenes
from tests.test_compare import FACTS, compare, contender, detector, parse_policy, split

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fnr > 0.05", (None, "", "fnr", None, None, ">", 0.05)),
        ("fnr@fppi<=0.1 > 0.05", (None, "", "fnr", None, "fppi<=0.1", ">", 0.05)),
        ("FNR @ FPPI <= 0.1>=.05", (None, "", "fnr", None, "fppi<=0.1", ">=", 0.05)),
        ("upper(fnr@recall>=0.9) > 1e-1", (None, "upper", "fnr", None, "recall>=0.9", ">", 0.1)),
        ("escape@f1 > 0", (None, "", "escape", None, "f1", ">", 0)),
        ("yolo 26: fnr[class=deep crack] > 0", ("yolo 26", "", "fnr", ("class", "deep crack"), None, ">", 0)),
        ("lower( froc ) < 0.5", (None, "lower", "froc", None, None, "<", 0.5)),
        ("ap50 <= 0.4", (None, "", "ap50", None, None, "<=", 0.4)),
    ],
)
def test_conditions_are_read(text, expected) -> None:
    (one,) = gate.parse([text])

    assert (one.detector, one.bound, one.metric, one.part, one.policy, one.sign, one.limit) == expected


def test_regressions_are_read() -> None:
    plain, named = gate.parse(["worse than baseline, p < 0.05", "new: Worse than baseline old one , p<.01"])

    assert (plain.detector, plain.other, plain.alpha) == (None, None, 0.05)
    assert (named.detector, named.other, named.alpha) == ("new", "old one", 0.01)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fnr", "--fail-if"),
        ("fnr = 0.1", "--fail-if"),
        ("upper(fnr > 0.1", "--fail-if"),
        ("fnr) > 0.1", "--fail-if"),
        ("fnt > 0.1", "Did you mean 'fnr'?"),
        ("fnr@fpi<=0.1 > 0.1", "--fail-if"),
        ("ap50@f1 < 0.1", "no policy"),
        ("upper(ap50) < 0.1", "a figure with an interval"),
        ("ap50[class=crack] < 0.1", "of a part"),
        ("worse than baseline, p < 5", "between 0 and 1"),
        ("worse than baseline", "--fail-if"),
    ],
)
def test_what_is_no_condition_is_said(text, says) -> None:
    with pytest.raises(ConfigError) as refused:
        gate.parse([text, "nonsense"])

    assert len(refused.value.faults) == 2
    assert says in str(refused.value.faults[0])


def test_conditions_and_names_belong_together(tmp_path) -> None:
    for texts, against, says in (
        (["yolo: fnr > 0"], None, "Did you mean 'yolo26'?"),
        (["worse than baseline, p < 0.05"], None, "Give --baseline"),
        (["fnr > 0"], tmp_path, "asks for it"),
        (["worse than baseline, p < 0.05"], tmp_path, "finished comparison"),
    ):
        with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
            gating.parse(texts, against, ["yolo26"])


def told(texts, comparison):
    at = {d.name: (d.test, d.slices) for d in comparison.detectors}
    return [one for condition in gate.parse(texts) for one in gate.decide(condition, comparison.detectors, at)]


def test_figures_bounds_and_parts_decide() -> None:
    comparison, _ = compare(
        [contender("good", recall=0.9), contender("bad", recall=0.5)],
        policy=parse_policy("fppi<=0.1"), facts=FACTS, versions={}, resamples=100,
    )  # fmt: skip
    good, bad = (d.test.fn_rate for d in comparison.detectors)

    assert [one.failed for one in told(["fnr > 0.3"], comparison)] == [False, True]
    assert [one.value for one in told(["fnr > 0.3"], comparison)] == [good.rate.value, bad.rate.value]
    assert [one.value for one in told(["upper(fnr) > 0.3"], comparison)] == [
        good.this_policy.high, bad.this_policy.high
    ]  # fmt: skip
    (part,) = told(["good: fnr[class=class0] < 1"], comparison)
    assert part.failed
    assert part.sentence.startswith("good: fnr[class=class0] is 0.")
    # Nobody gave costs, and a class has no overkill: what can't be measured fails.
    assert [one.failed for one in told(["cost > 5", "overkill[class=class0] > 1"], comparison)] == [True] * 4
    with pytest.raises(ConfigError, match="Did you mean 'class=class0'"):
        told(["fnr[class=clas0] > 0"], comparison)


@pytest.fixture(scope="module")
def entered() -> Callable[..., Entrant]:
    """Detectors of any recall under any policy, all on the same defects."""
    splits = {name: split(name) for name in ("test", "val")}
    draws = Draws(
        seed=0,
        test=draw(np.random.default_rng([0, 0]), 120, 400),
        validation=draw(np.random.default_rng([0, 1]), 120, 400),
    )

    def one(name: str, seed: int, recall: float, policy: str = "fppi<=0.1", **more) -> Entrant:
        said = {which: evaluate(truth, detector(truth, seed, recall=recall)) for which, truth in splits.items()}
        run = Run(seed=0, test=said["test"], validation=said["val"], manifest=None)
        return enter(Contender(name=name, runs=(run,)), parse_policy(policy), draws, **more)

    return one


(WORSE,) = gate.parse(["worse than baseline, p < 0.05"])


@pytest.mark.parametrize("policy", ["fppi<=0.1", "score=0.3", "f1"])
def test_a_drop_in_recall_is_worse_and_chance_is_not(entered, policy) -> None:
    then, same, poor = (entered(*one, policy) for one in (("old", 1, 0.9), ("same", 2, 0.9), ("poor", 3, 0.5)))

    def failed(*pairs):
        return [one.failed for one in baseline.worse(WORSE, pairs, figure="fn_rate", seed=0)]

    assert failed((same, then), (poor, then)) == [False, True]
    assert failed((then, poor)) == [False]  # fewer misses are no fault
    (one,) = baseline.worse(WORSE, [(then, then)], figure="fn_rate", seed=0)
    assert (one.failed, one.value) == (False, 1.0)


@pytest.mark.parametrize("policy", ["fppi<=0.1", "score=0.3"])
def test_a_baseline_is_tested_like_a_detector_beside_it(entered, policy) -> None:
    now, then = entered("new", 3, 0.7, policy), entered("old", 1, 0.9, policy)
    curve = DrawnFroc(fppi=np.zeros(0), recall=np.zeros((400, 0)), area=0.0, areas=np.zeros(400))
    draws = Draws(seed=0, test=np.zeros((0, 120), np.uint8), validation=None)
    (pair,) = pairs([now, then], draws, {"new": curve, "old": curve}, "fn_rate")

    (told,) = baseline.worse(WORSE, [(now, then)], figure="fn_rate", seed=0)

    assert told.value == pair.fn_rate.p
    assert f"interval {100 * pair.fn_rate.interval.low:+.3g} to" in told.sentence


def test_a_baseline_stays_at_the_thresholds_it_chose_then(entered) -> None:
    fresh = entered("old", 1, 0.9)
    then = entered("old", 1, 0.9, used=[np.full(2, 0.9)])

    assert then.threshold == (0.9,) != fresh.threshold
    assert then.rate("fn_rate") > fresh.rate("fn_rate")
    # What the policy would choose on other units is the same, and the change to it counts from where it stands.
    assert np.array_equal(then.anew, fresh.anew)
    assert then.shift[:, 0].mean() < fresh.shift[:, 0].mean()


def test_a_detector_without_a_threshold_fails_the_gate(entered) -> None:
    """Under `recall>=x` it would else raise no false alarm at all, and pass."""
    then, mute = entered("old", 1, 0.9, "recall>=0.8"), entered("new", 2, 0.3, "recall>=0.8")

    assert not mute.measured
    for pair in ((mute, then), (then, mute)):
        (one,) = baseline.worse(WORSE, [pair], figure="fppi", seed=0)
        assert (one.failed, one.value) == (True, None)
        assert "since new has no threshold that meets the policy" in one.sentence


@pytest.mark.parametrize("policy", ["score=0.5", "fppi<=0.1"])
@pytest.mark.parametrize(
    ("defective", "detectors", "blind"), [(4, 1, True), (5, 1, False), (5, 2, True), (6, 2, False)]
)
def test_units_that_are_too_few_are_said(policy, defective, detectors, blind) -> None:
    box = [[0, 0, 10, 10]] * defective
    truth = scenes.dataset(image=range(defective), label=[0] * defective, box=box, images=defective + 10)
    draws = Draws(
        seed=0,
        test=draw(np.random.default_rng(0), defective + 10, 200),
        validation=draw(np.random.default_rng(1), defective + 10, 200),
    )

    def at(score: float) -> Entrant:
        said = scenes.predictions(image=range(defective), label=[0] * defective, box=box, score=[score] * defective)
        right = scenes.predictions(image=range(defective), label=[0] * defective, box=box, score=[0.5] * defective)
        run = Run(seed=0, test=evaluate(truth, said), validation=evaluate(truth, right), manifest=None)
        return enter(Contender(name="one", runs=(run,)), parse_policy(policy), draws)

    told = baseline.worse(WORSE, [(at(0.3), at(0.9))] * detectors, figure="fn_rate", seed=0)

    # Every unit turned out worse: nothing more can be shown with so many.
    assert all(one.failed for one in told)
    assert all(("whatever happens" in one.sentence) == blind for one in told)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with enough defective units in test for a small p."""
    folder = tmp_path_factory.mktemp("parts")
    export = demo.generate(folder / "export", images=160, size=64, seed=3)
    return normalize.normalize(export, images=None, out=folder / "dataset").root


@pytest.fixture(scope="module")
def said(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Predictions of a good and of a poor detector, as --predictions has them under the name `det`."""
    folder = tmp_path_factory.mktemp("said")
    found = {}
    for recall in (1.0, 0.2):
        found[f"{recall:g}"] = []
        for name in ("val", "test"):
            rng = np.random.default_rng(0)
            entries = [
                {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
                for a in json.loads((parts / f"{name}.json").read_text())["annotations"]
                if rng.random() < recall
            ]
            path = folder / f"{recall:g}_{name}.json"
            path.write_text(json.dumps(entries))
            found[f"{recall:g}"].append(f"det:{name}={path}")
    return found


def run(parts, out, given, *options):
    command = [
        sys.executable, ROOT / "tools" / "evaluate.py", parts, "--out", out, "--no-fiftyone", "--resamples", "100",
        "--policy", "score=0.5", "--predictions", *given, *options,
    ]  # fmt: skip
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT, timeout=300
    )  # fmt: skip


def test_a_gate_in_ci(parts: Path, said, tmp_path: Path) -> None:
    old = run(parts, tmp_path / "old", said["1"], "--fail-if", "fnr@fppi<=0.1 > 0.05", "fnr[class=crack] > 0.5")
    assert old.returncode == 0, old.stderr
    assert "passed det: fnr@fppi<=0.1 is 0" in old.stderr
    assert [one["failed"] for one in json.loads((tmp_path / "old/gate.json").read_text())] == [False, False]

    blind = ["--baseline", tmp_path / "old", "--fail-if", "worse than baseline, p < 0.0000001"]
    worse = ["--baseline", tmp_path / "old", "--fail-if", "worse than baseline, p < 0.05"]
    closed = run(parts, tmp_path / "same", said["1"], *blind)
    assert closed.returncode == 3, closed.stderr
    assert "units with something to count can't show p < 1e-07" in closed.stderr
    again = run(parts, tmp_path / "same", said["1"], *worse)
    assert again.returncode == 0, again.stderr
    new = run(parts, tmp_path / "new", said["0.2"], *worse)
    assert new.returncode == 3, new.stderr
    assert "failed det: misses +" in new.stderr
    assert (tmp_path / "new" / "report.html").exists()

    other = run(parts, tmp_path / "iou", said["1"], "--iou", "0.3", *worse)
    assert other.returncode == 2
    assert "IoU: expected 0.3, found 0.5" in other.stderr
    assert not (tmp_path / "iou" / "comparison.json").exists()


def test_a_baseline_on_other_data_is_refused_at_once(parts: Path, said, tmp_path: Path) -> None:
    old = tmp_path / "old"
    assert run(parts, old, said["1"]).returncode == 0
    content = json.loads((old / "comparison.json").read_text())
    content["dataset"]["fingerprints"]["test"] = "0" * 64
    (old / "comparison.json").write_text(json.dumps(content))

    new = run(parts, tmp_path / "new", said["1"], "--baseline", old, "--fail-if", "worse than baseline, p < 0.05")

    assert new.returncode == 2, new.stderr
    assert "the same test split" in new.stderr
    assert not (tmp_path / "new" / "predictions").exists()


def test_a_review_from_the_template_to_the_figures(parts: Path, said, tmp_path: Path) -> None:
    template = tmp_path / "review.jsonl"
    first = run(parts, tmp_path / "out", said["0.2"], "--review-template", template, "--sizes", "5,20")
    assert first.returncode == 0, first.stderr
    header, *entries = [json.loads(line) for line in template.read_text().splitlines()]
    missed = [entry for entry in entries if entry.get("missed_by")]
    missed[0]["decision"] = "label error"
    template.write_text("\n".join(json.dumps(line) for line in [header, *entries]))

    second = run(parts, tmp_path / "out", said["0.2"], "--review", template)

    assert second.returncode == 0, second.stderr
    told = json.loads((tmp_path / "out/comparison.json").read_text())
    before, after = (told["adjudication"]["detectors"][0][name]["rate"] for name in ("before", "after"))
    assert after == {"count": before["count"] - 1, "of": before["of"] - 1}
    assert told["detectors"][0]["test"]["fn_rate"]["rate"] == after
    comparison, judged, truth = folder.load(tmp_path / "out")
    assert int((~judged[0].found & truth.defects.counts).sum()) == after["count"]
    assert comparison.adjudication is not None
