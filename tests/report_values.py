"""Values for reports under test: plates with blots, contenders on them, and fillings of every optional field."""

import itertools
import math
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from defect_detect.evaluation import comparison as values
from defect_detect.evaluation import reasons
from defect_detect.evaluation.compare import compare
from defect_detect.evaluation.judged import Contender, Judged, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.operating import parse_policy
from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

Rate = values.Rate
HOSTILE = "<script>alert(1)</script>|=cmd"
NAMES = ("yolo26n", "ssdlite", HOSTILE)


def surface(root: Path, *, pictures: int = 24, hostile: bool = True, seed: int = 7) -> Dataset:
    """Grey plates with dark blots; every third one without."""
    rng = np.random.default_rng(seed)
    classes = ("scratch", HOSTILE if hostile else "pit", "stain")
    image, label, box, files = [], [], [], []
    for n in range(pictures):
        plate = rng.normal(150, 6, (120, 160)).clip(0, 255).astype(np.uint8)
        for _ in range(0 if n % 3 == 0 else 4):
            width, height = rng.integers(6, 30, 2)
            x, y = rng.integers(0, 160 - width), rng.integers(0, 120 - height)
            plate[y : y + height, x : x + width] -= 60
            image.append(n)
            label.append(int(rng.integers(len(classes))))
            box.append([x, y, x + width, y + height])
        files.append(f"plate {n:02}.png")
        Image.fromarray(plate).save(root / files[-1])
    boxes = np.array(box, float)
    of = len(image)
    return Dataset(
        root=root,
        split="test",
        categories=tuple(Category(id=k + 1, name=name, source_id=k) for k, name in enumerate(classes)),
        images=Images(
            file=tuple(files),
            id=np.arange(1, pictures + 1),
            size=np.tile(np.array([160, 120]), (pictures, 1)),
            group=np.array(files),
            source_id=tuple(range(pictures)),
        ),
        defects=Defects(
            image=np.array(image),
            label=np.array(label),
            box=boxes,
            area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            crowd=np.zeros(of, bool),
            ignore=np.zeros(of, bool),
            region=None,
            id=np.arange(1, of + 1),
            source_id=tuple(range(of)),
        ),
        fingerprint="f" * 64,
    )


def said(truth: Dataset, *, seed: int, skill: float) -> Predictions:
    """Shaken ground truth, some of it left out or under another label, and false alarms; a bit by size."""
    rng = np.random.default_rng(seed)
    defects = truth.defects
    ease = np.sqrt(defects.area / defects.area.max()) + skill + rng.normal(0, 0.35, len(defects))
    kept = ease > 0.1
    shake = rng.normal(0, 0.12, (len(defects), 4)) * np.sqrt(defects.area)[:, None]
    label = np.where(rng.random(len(defects)) < 0.08, rng.integers(len(truth.categories), size=len(defects)),
                     defects.label)  # fmt: skip
    size = truth.images.size.astype(float)
    alarms = rng.integers(len(truth.images), size=len(truth.images))
    corner = rng.random((len(alarms), 2)) * size[alarms] * 0.8
    near = (defects.box + shake)[kept]
    box = np.concatenate([near, np.concatenate([corner, corner + size[alarms] * 0.1], axis=1)])
    image = np.concatenate([defects.image[kept], alarms])
    low = np.minimum(np.clip(box[:, :2], 0, None), size[image] - 3)
    return Predictions(
        image=image,
        label=np.concatenate([label[kept], rng.integers(len(truth.categories), size=len(alarms))]),
        box=np.concatenate([low, np.minimum(np.maximum(box[:, 2:], low + 2), size[image])], axis=1),
        score=np.concatenate([np.clip(ease[kept] / 1.6, 0.01, 0.99), rng.beta(1, 5, len(alarms))]),
    )


def judge(truth: Dataset, name: str, *, seed: int, skill: float, threshold: float) -> Judged:
    """One run at a threshold of its own."""
    return reasons.judge(name, seed, evaluate(truth, said(truth, seed=seed, skill=skill)), np.full(3, threshold))


def contender(name: str, truth: Dataset, validation: Dataset, *, skill: float, seeds: int = 1) -> Contender:
    """Its predictions on both splits."""
    runs = [
        Run(
            seed=n,
            test=evaluate(truth, said(truth, seed=n + round(100 * skill), skill=skill)),
            validation=evaluate(validation, said(validation, seed=n + 7, skill=skill)),
            manifest=None,
        )
        for n in range(seeds)
    ]
    return Contender(name=name, runs=tuple(runs))


def compared(
    contenders: list[Contender], truth: Dataset, policy: str = "fppi<=0.5", *, per_class: bool = False
) -> tuple[values.Comparison, tuple[Judged, ...]]:
    """The real comparison, with few resamples."""
    splits = {"val": 12, "test": len(truth.images)}
    free = int(truth.defect_free.sum())
    facts = values.DatasetFacts(
        name=f"plates {HOSTILE}", fingerprints={"test": truth.fingerprint},
        categories=[c.name for c in truth.categories], images=splits, units=splits,
        defective={"test": len(truth.images) - free}, defect_free={"test": free},
        defects={"test": len(truth.defects)}, masks=truth.has_masks, quarantined={"test": 2}, scale=truth.scale,
        unit=truth.unit,
    )  # fmt: skip
    return compare(
        contenders, policy=parse_policy(policy, per_class=per_class), resamples=60, facts=facts,
        versions={"python": "3.11.2"}, allow=True,
    )  # fmt: skip


def pod(of: str = "all", status: str = "ok", *, shift: float = 0.0, hits: int = 90, targets: int = 120) -> values.Pod:
    """A logistic curve over sizes from 4 to 60 px; without one where it is not estimable or all were found."""
    size = np.geomspace(4, 60, 30)
    edges = np.geomspace(4, 60, 7)
    bins = []
    for low, high in itertools.pairwise(edges):
        n = targets // 6
        share = 1.0 if status == "all_found" else _logistic(math.sqrt(low * high), shift)
        bins.append(values.PodBin(low=float(low), high=float(high), found=Rate(count=round(n * share), of=n)))
    if status != "ok":
        why = {"not_estimable": "separation: every defect over 12 px was found and none under it",
               "all_found": "29 of 29 at and above 12 px: 90/95 there."}[status]  # fmt: skip
        found = targets if status == "all_found" else hits
        return values.Pod(of=of, measure="long side", unit="px", link="logit", targets=targets, hits=found,
                          status=status, why=why, bins=bins)  # fmt: skip
    curve = [_logistic(a, shift) for a in size]
    a90 = math.exp((math.log(9) / 2.6) + math.log(11) + shift)
    return values.Pod(
        of=of, measure="long side", unit="px", link="logit", targets=targets, hits=hits, status="ok", why="",
        intercept=-2.6 * math.log(11), slope=2.6, a50=11 * math.exp(shift), a90=a90, a90_95=a90 * 1.25,
        bound_method="likelihood ratio", size=size.tolist(), pod=curve, low=[max(p - 0.12, 0) for p in curve],
        bins=bins, warnings=["under 60 targets"] if targets < 60 else [],
    )  # fmt: skip


def _logistic(size: float, shift: float) -> float:
    return 1 / (1 + math.exp(-2.6 * (math.log(size / 11) - shift)))


def froc_band(curve: values.Curve) -> values.FrocBand:
    """Around the curve, on a grid."""
    grid = [2.0**k for k in range(-5, 4)]
    recall = [float(np.array(curve.recall)[max(np.searchsorted(curve.fppi, x, side="right") - 1, 0)]) for x in grid]
    return values.FrocBand(fppi=grid, low=[max(r - 0.08, 0) for r in recall], high=[min(r + 0.06, 1) for r in recall])


def calibration(shift: float = 0.0, n: int = 40) -> values.Calibration:
    """Ten bins of n predictions, rather too sure."""
    bins = [
        values.CalibrationBin(low=k / 10, high=(k + 1) / 10, mean_score=(k + 0.5) / 10,
                              hits=Rate(count=round(n * max((k + 0.5) / 10 - 0.1 - shift, 0)), of=n))
        for k in range(10)
    ]  # fmt: skip
    return values.Calibration(ece=0.1 + shift, bins=bins)


def filled(comparison: values.Comparison) -> values.Comparison:
    """Every optional value that a small comparison lacks; made up, alike each time."""
    statuses = ("ok", "ok", "not_estimable", "all_found")
    names, classes = [d.name for d in comparison.detectors], comparison.dataset.categories
    detectors = []
    for k, d in enumerate(comparison.detectors):
        hits = d.localization.hits
        histogram = np.bincount(np.random.default_rng(k).integers(10, 20, hits), minlength=20).tolist()
        located = msgspec.structs.replace(d.localization, iou_histogram=histogram, boundary_iou_mean=0.61)
        detectors.append(
            msgspec.structs.replace(
                d,
                froc=msgspec.structs.replace(d.froc, band=froc_band(d.froc.curve)),
                localization=located,
                pod=[pod(status=statuses[k % 4], shift=0.2 * k),
                     *(pod(name, status=statuses[(k + n + 1) % 4]) for n, name in enumerate(classes))],
                lrp=values.Lrp(at_operating_point=0.71 + k / 50, olrp=0.6 + k / 50, olrp_localization=0.2,
                               olrp_false_positive=0.3, olrp_false_negative=0.4,
                               optimal_thresholds=dict.fromkeys(classes, 0.31)),
                calibration=calibration(0.05 * k),
                attribute_agreement=values.AttributeAgreement(
                    effectiveness=Rate(count=100 - k, of=129), miss_rate=d.test.escape_rate.rate,
                    false_alarm_rate=d.test.overkill_rate.rate, kappa=0.5 if k else None, repeatability=None),
                expected_cost=1.5 + k if k % 2 == 0 else None,
                localization_slices=[values.LocalizationSlice(by="class", value=name, localization=located)
                                     for name in classes],
            )
        )  # fmt: skip
    reviewed = [
        values.Adjudicated(detector=d.name, before=d.test.fn_rate,
                           after=values.Estimate(rate=Rate(count=max(d.test.fn_rate.rate.count - 9, 0),
                                                           of=d.test.fn_rate.rate.of - 6)),
                           false_alarms_before=d.test.fppi.rate,
                           false_alarms_after=Rate(count=max(d.test.fppi.rate.count - 2, 0), of=d.test.fppi.rate.of))
        for d in comparison.detectors
    ]  # fmt: skip
    rules = ("IoU 0.1", "IoU 0.3", "IoU 0.5", "centre in box", "union coverage")
    misses = {rule: {name: 100.0 + 7 * k - 9 * (k == 1) * (n == 4) for k, name in enumerate(names)}
              for n, rule in enumerate(rules)}  # fmt: skip
    return msgspec.structs.replace(
        comparison,
        detectors=detectors,
        rank_misses=misses,
        rank_stability={rule: sorted(found, key=found.__getitem__) for rule, found in misses.items()},
        adjudication=values.Adjudication(
            verdicts={"true miss": 20, "label error": 6, "borderline": 3, "unlabelled defect": 2},
            reviewed_hits=0, optimistic=True, detectors=reviewed, notes=["Two verdicts name no miss."]),
    )  # fmt: skip
