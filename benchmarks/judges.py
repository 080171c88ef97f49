"""Files to the number of missed defects at 101 score thresholds (boxes, IoU 0.5): ours and each peer.

Every judge gets the folder that `generated.make` wrote and the name of a detector, reads both files, and
returns (101,) counts of defects that are not found at scores 0, 0.01 ... 1. Each goes the quickest way that
its API has: one IoU, one range of areas.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLDS = np.linspace(0, 1, 101)


def missed(total: int, scores: Any) -> list[int]:
    """The counts, from the defects that count and the scores that found some of them."""
    found = np.sort(np.asarray(scores, float))
    return (total - (len(found) - np.searchsorted(found, THRESHOLDS, side="left"))).tolist()


def ours(root: Path, *names: str) -> list[list[int]]:
    """One ground truth for all the detectors named."""
    from defect_detect.data import coco, predictions
    from defect_detect.evaluation.judged import Rule
    from defect_detect.evaluation.matching import match

    truth = coco.load(root, "test")
    total, curves = int(truth.defects.counts.sum()), []
    for name in names:
        at = match(truth, predictions.read(root / f"{name}.json", truth), Rule()).found_at
        curves.append(missed(total, at[np.isfinite(at)]))
    return curves


def ultrafast(root: Path, name: str, *, reduced: bool = True) -> list[int]:
    from ultrafast_pycocotools import COCO, COCOeval

    truth = COCO(str(root / "test.json"))
    judged = COCOeval(truth, truth.loadRes(str(root / f"{name}.json")), "bbox")
    if reduced:
        _plain(judged)
    judged.evaluate()
    # What its `matches` is a view of.
    said, defects = judged.per_instance(iou_thr=0.5, area="all")
    return missed(int((~defects["ignore"]).sum()), said["score"][(said["gt_id"] >= 0) & ~said["ignore"]])


def hotcoco(root: Path, name: str) -> list[int]:
    from hotcoco import COCO, COCOeval

    truth = COCO(str(root / "test.json"))
    judged = _plain(COCOeval(truth, truth.loadRes(str(root / f"{name}.json")), "bbox"))
    judged.evaluate()
    return _from_images(judged.evalImgs)


def vernier(root: Path, name: str) -> list[int]:
    from vernier import instance

    judge = instance.Evaluator(parity_mode="strict", iou_thresholds=(0.5,), max_dets=(100,))
    truth, said = (root / "test.json").read_bytes(), (root / f"{name}.json").read_bytes()
    table = judge.evaluate_tables(truth, said, tables=("per_detection",)).per_detection
    table = table.unnest(table.columns[0])
    # Its table of misses wants COCO's ten IoUs, so the defects that count are counted in the text.
    total = truth.count(b'"iscrowd": 0')
    return missed(total, table["score"].to_numpy()[(table["match_status_at_50"] == "tp").to_numpy()])


def faster(root: Path, name: str) -> list[int]:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(str(root / "test.json"))
    said = truth.loadRes(str(root / f"{name}.json"))
    judged = _plain(COCOeval_faster(truth, said, "bbox"))
    judged.evaluate()
    pairs = [key.split("_") for key in judged.eval["matched"]]
    total = sum(not one["iscrowd"] for one in truth.anns.values())
    return missed(total, [said.anns[int(p)]["score"] for p, d in pairs if not truth.anns[int(d)]["iscrowd"]])


def pycocotools(root: Path, name: str) -> list[int]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(root / "test.json"))
    judged = _plain(COCOeval(truth, truth.loadRes(str(root / f"{name}.json")), "bbox"))
    judged.evaluate()
    return _from_images(judged.evalImgs)


def ultrafast_as_it_comes(root: Path, name: str) -> list[int]:
    """With its own parameters: ten IoUs, four ranges of areas."""
    return ultrafast(root, name, reduced=False)


PEERS: dict[str, Callable[[Path, str], list[int]]] = {
    "ultrafast-pycocotools": ultrafast,
    "ultrafast, as it comes": ultrafast_as_it_comes,
    "hotcoco": hotcoco,
    "vernier": vernier,
    "faster-coco-eval": faster,
    "pycocotools": pycocotools,
}
PACKAGES = ("ultrafast-pycocotools", "hotcoco", "vernier", "faster-coco-eval", "pycocotools")
LARGEST = {
    "pycocotools": 5000,
    "faster-coco-eval": 5000,
    "hotcoco": 20000,
    "vernier": 20000,
    "ultrafast, as it comes": 20000,
}
"""Up to how many images a peer is taken."""


def quietly(judge: Callable[..., Any], root: Path, *names: str) -> Any:
    """The judge's answer without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return judge(root, *names)


def _plain(judged: Any) -> Any:
    """The evaluation reduced to IoU 0.5, all areas."""
    judged.params.iouThrs = [0.5]
    judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
    judged.params.maxDets = [100]
    return judged


def _from_images(images: Any) -> list[int]:
    some = [one for one in images if one is not None]
    ignored = [np.asarray(one["gtIgnore"], bool).reshape(-1) for one in some]
    hit = [
        (np.asarray(one["dtMatches"]).reshape(-1) > 0) & ~np.asarray(one["dtIgnore"], bool).reshape(-1) for one in some
    ]
    scores = [np.asarray(one["dtScores"], float) for one in some]
    return missed(int((~np.concatenate(ignored)).sum()), np.concatenate(scores)[np.concatenate(hit)])
