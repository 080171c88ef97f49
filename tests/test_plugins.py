"""Our dataset and figures inside the frameworks: the documented examples, run as they stand on a small network.

Each runs in the interpreter that has its framework, found as the runner finds it, and leaves what it
predicted; `evaluation` then has to say the same of that.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from defect_detect import runner
from defect_detect.data import coco, yolo_folder
from defect_detect.errors import Unreachable
from defect_detect.evaluation import froc, matching, missed, operating
from defect_detect.tables import Predictions
from tests import contract_data

POLICY = "fppi<=50"  # in place of 0.1, which a network of two epochs can't keep to
DOCUMENTED = (Path(__file__).parents[1] / "docs" / "backends.md").read_text()
CLASSES = len(contract_data.CLASSES)
# Put around the counter before the example runs: what it counted, for this process to count again.
RECORD = """
import json, sys
import numpy as np
from defect_detect.plugins import counted
figures = counted.Counter.figures
def recorded(self, said):
    told = figures(self, said)
    rows = [[int(row), table.box.tolist(), table.score.tolist(), table.label.tolist()] for row, table in said]
    with open("counted.jsonl", "a") as file:
        file.write(json.dumps([told, rows]) + "\\n")
    return told
counted.Counter.figures = recorded
"""


@pytest.fixture(scope="module")
def line4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `data/line4` and `data/line4_yolo` are what the examples say."""
    home = tmp_path_factory.mktemp("plugins")
    contract_data.dataset(home / "data" / "line4")
    yolo_folder.write(home / "data" / "line4", home / "data" / "line4_yolo", splits=("train", "val"))
    return home


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def example(language_start: str, changes: dict[str, str]) -> str:
    """The documented block that starts so, with its network made small."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENTED, re.DOTALL)
    (text,) = (block for block in blocks if block.startswith(language_start))
    for before, after in {"fppi<=0.1": POLICY, **changes}.items():
        assert text.count(before) >= 1, before
        text = text.replace(before, after)
    return text


def run(framework: str, home: Path, line4: Path, code: str) -> list[tuple[dict[str, float], Predictions]]:
    """Run the code where the framework is; each counting's figures, and what it counted."""
    try:
        runner.check(framework)
    except runner.FrameworkMissing as missing:
        pytest.skip(str(missing))
    shutil.copytree(line4 / "data", home / "data")
    (home / "example.py").write_text(RECORD + code.replace("{home}", str(home)))
    environment = {**runner.scrubbed(1), "YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": str(home / "settings"),
                   "XDG_CACHE_HOME": str(home / "cache")}  # fmt: skip
    (home / "settings").mkdir()
    done = subprocess.run(
        [runner.python_of(framework), "-W", "ignore", "example.py"], cwd=home, env=environment, capture_output=True,
        text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (home / "said.txt").write_text(done.stdout + done.stderr)
    found = []
    for line in (home / "counted.jsonl").read_text().splitlines():
        told, rows = json.loads(line)
        tables = [
            Predictions(
                image=np.full(len(score), row), label=np.array(label, np.int64),
                box=np.array(box, float).reshape(-1, 4), score=np.array(score, float),
            )
            for row, box, score, label in rows
        ]  # fmt: skip
        found.append((told, Predictions.joined(tables, regions=False)))
    return found


def expected(home: Path, said: Predictions) -> dict[str, float]:
    """The same figures by the public functions of `evaluation`."""
    truth = coco.load(home / "data" / "line4", "val")
    evaluation = matching.evaluate(truth, said)
    try:
        chosen, at = (operating.threshold(operating.parse_policy(POLICY), evaluation),) * 2
    except Unreachable:
        chosen, at = float("nan"), float("inf")
    rates = missed.rates(missed.scored(evaluation), np.full(CLASSES, at))
    names = ("fn_rate", "fppi", "escape_rate", "overkill_rate")
    return {
        "froc_recall": froc.mean_froc_recall(truth, said),
        "threshold_in_sample": chosen,
        **{f"{name}_in_sample": rates[name].count / rates[name].of for name in names},
    }


@pytest.mark.framework
def test_the_example_for_mmdet(line4: Path, tmp_path: Path) -> None:
    config = example("_base_", {"num_classes=4": f"num_classes={CLASSES}"})
    (tmp_path / "line4.py").write_text(config)
    code = f"""
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile("line4.py")
cfg.merge_from_dict({_narrow_mmdet()!r})
cfg.model.backbone.init_cfg = None
for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
    for step in loader.dataset.pipeline:
        if step["type"] == "Resize":
            step["scale"] = (96, 96)
runner = Runner.from_cfg(cfg)
runner.train()
seen = runner.train_dataloader.dataset
assert len(seen) == 12 and min(seen[row]["inputs"].shape[-1] for row in range(12)) > 0
"""
    counts = run("mmdet", tmp_path, line4, code)
    assert len(counts) == 2
    for told, said in counts:
        assert len(said)
        assert told == pytest.approx(expected(tmp_path, said), nan_ok=True)
    logged = lines(next((tmp_path / "work").glob("*/vis_data/scalars.json")))
    recalls = [line["defects/froc_recall"] for line in logged if "defects/froc_recall" in line]
    assert recalls == pytest.approx([told["froc_recall"] for told, _ in counts])
    assert list((tmp_path / "work").glob("best_defects_froc_recall*.pth"))


def _narrow_mmdet() -> dict[str, object]:
    from tests.contract_configs import _NARROW

    narrow = json.loads(json.dumps(_NARROW))
    return {
        **narrow, "train_cfg.max_epochs": 2, "train_dataloader.batch_size": 4, "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False, "val_dataloader.num_workers": 0,
        "val_dataloader.persistent_workers": False, "test_dataloader.num_workers": 0,
        "test_dataloader.persistent_workers": False, "work_dir": "work", "randomness": {"seed": 0},
    }  # fmt: skip


@pytest.mark.framework
def test_the_example_for_detectron2(line4: Path, tmp_path: Path) -> None:
    small = {
        "MODEL.DEVICE": "cpu", "MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
        "MODEL.FPN.OUT_CHANNELS": 16, "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 100, "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 100, "MODEL.RPN.POST_NMS_TOPK_TEST": 30, "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32, "MODEL.ROI_MASK_HEAD.NUM_CONV": 1, "MODEL.WEIGHTS": "",
        "MODEL.ROI_MASK_HEAD.CONV_DIM": 16, "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0, "INPUT.MIN_SIZE_TRAIN": "(96,)",
        "INPUT.MIN_SIZE_TEST": 96, "DATALOADER.NUM_WORKERS": 0, "SOLVER.IMS_PER_BATCH": 4, "SOLVER.MAX_ITER": 4,
        "TEST.EVAL_PERIOD": 2, "SOLVER.BASE_LR": 0.0001, "SEED": 1, "OUTPUT_DIR": "work",
    }  # fmt: skip
    flat = [value for pair in small.items() for value in pair]
    changes = {
        "Trainer(cfg).train()": f"cfg.merge_from_list({flat!r})\nimport os\nos.makedirs('work')\n"
        "trainer = Trainer(cfg)\ntrainer.train()\njson.dump(trainer._last_eval_results, open('results.json', 'w'))\n"
        "assert len(trainer.data_loader.dataset.dataset.dataset) == 12",
        'NUM_CLASSES = "bitmask", 4': f'NUM_CLASSES = "bitmask", {CLASSES}',
        ", trained=True": "",
    }
    counts = run("detectron2", tmp_path, line4, example("from detectron2", changes))
    assert len(counts) == 2
    for told, said in counts:
        assert len(said)
        assert told == pytest.approx(expected(tmp_path, said), nan_ok=True)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["defects"] == pytest.approx(counts[-1][0], nan_ok=True)


@pytest.mark.framework
def test_the_example_for_ultralytics(line4: Path, tmp_path: Path) -> None:
    """In a training, in its last validation of the best checkpoint, and in `val`, there also by the labels alone."""
    same = "imgsz=96, workers=0, device='cpu', conf=0.0001, batch=4, project='{home}/work'"
    changes = {
        "yolo26n.pt": "yolo26n.yaml",
        "epochs=100": f"{same}, epochs=1, name='run', seed=1, lr0=0.001, warmup_epochs=0, optimizer='AdamW'",
        "print(seen.figures)": f"labelled = missed_defects(model, policy='{POLICY}')\n"
        f"model.val(data='data/line4_yolo/data.yaml', {same}, name='val', save_json=True, plots=False)\n"
        "assert [*labelled.figures] == [*seen.figures]\nprint(seen.figures)",
    }
    counts = run("ultralytics", tmp_path, line4, example("from ultralytics", changes))
    assert len(counts) == 4
    for told, said in counts:
        assert len(said)
        assert told == pytest.approx(expected(tmp_path, said), abs=1e-5, nan_ok=True)
    header, row = (line.split(",") for line in (tmp_path / "work" / "run" / "results.csv").read_text().splitlines())
    logged = {name.strip(): value for name, value in zip(header, row, strict=True)}
    for name, value in counts[0][0].items():
        assert float(logged[f"defects/{name}"]) == pytest.approx(value, abs=1e-4, nan_ok=True)
    assert "missed defects (fppi<=50): froc_recall" in (tmp_path / "said.txt").read_text()
    # What was counted is what ultralytics itself writes of that validation, but for boxes without an area.
    theirs = json.loads((tmp_path / "work" / "val" / "predictions.json").read_text())
    scores = sorted(one["score"] for one in theirs if min(one["bbox"][2:]) > 0)
    for _, said in counts[2:]:
        assert sorted(said.score) == pytest.approx(scores, abs=1e-4)
