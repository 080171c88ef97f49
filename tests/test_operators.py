"""What stands in for mmcv's compiled operators says what they say. Runs where mmcv is compiled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", name="mmcv")
def _mmcv(mmdet: None) -> Any:
    """mmcv's own compiled module."""
    del mmdet
    from defect_detect.backends._mmdet import environment

    if not environment.compiled():
        pytest.skip("mmcv is not compiled here: mmcv-lite")
    import mmcv._ext

    return mmcv._ext


@pytest.fixture(scope="module", name="ours")
def _ours(mmcv: Any) -> Any:
    del mmcv
    from defect_detect.backends._mmdet import operators

    return operators


def boxes(count: int, seed: int, *, whole: bool = False) -> tuple[Any, Any]:
    """Overlapping boxes x0 y0 x1 y1 px, some without area, and scores; `whole` px, so that many IoUs are alike."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (count, 2))
    high = low + rng.uniform(0, 25, (count, 2)) * (rng.random((count, 1)) > 0.05)
    corners = np.concatenate([low, high], 1)
    corners = corners.round() if whole else corners
    return torch.from_numpy(corners.astype(np.float32)), torch.from_numpy(rng.permutation(count).astype(np.float32))


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [0, 1, 60, 400])
def test_suppression_keeps_the_same_rows_in_the_same_order(mmcv, ours, count, whole, offset):
    for seed, threshold in itertools.product(range(8), (0.0, 0.1, 1 / 3, 0.45, 0.5, 0.7, 1.0)):
        where, scores = boxes(count, seed, whole=whole)
        given = {"iou_threshold": threshold, "offset": offset}
        assert torch.equal(ours.nms(where, scores, **given), mmcv.nms(where, scores, **given))


def test_suppression_keeps_as_many_where_scores_are_alike(mmcv, ours):
    """Which of two equal scores comes first, mmcv leaves to torch's sort; without overlaps it doesn't matter."""
    apart = torch.arange(50)[:, None] * 30.0 + torch.tensor([0.0, 0.0, 20.0, 20.0])
    for function in (ours.nms, mmcv.nms):
        kept = function(apart, torch.full((50,), 0.5), iou_threshold=0.5, offset=0)
        assert sorted(kept.tolist()) == list(range(50))


@pytest.mark.parametrize("most", [-1, 7])
@pytest.mark.parametrize("agnostic", [False, True])
def test_suppression_by_class_is_the_same(mmcv, ours, agnostic, most, monkeypatch):
    from mmcv.ops import batched_nms

    where, scores = boxes(200, 3)
    labels = torch.arange(200) % 3
    how = {"type": "nms", "iou_threshold": 0.5, "max_num": most, "score_threshold": 20.0}
    theirs, kept = batched_nms(where, scores, labels, dict(how), class_agnostic=agnostic)
    monkeypatch.setattr(mmcv, "nms", ours.nms)
    mine, own = batched_nms(where, scores, labels, dict(how), class_agnostic=agnostic)
    assert torch.equal(mine, theirs)
    assert torch.equal(own, kept)
    assert len(kept) == (7 if most > 0 else len(kept))


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_pooled_regions_and_their_gradients_are_the_same(mmcv, ours, aligned, sampling, count):
    rng = torch.Generator().manual_seed(count + sampling)
    image = torch.randn((2, 5, 24, 31), generator=rng)
    where, _ = boxes(count, 9)
    where += torch.tensor([-6.0, -6.0, 4.0, 4.0])  # some reach beyond the picture
    rois = torch.cat([torch.randint(0, 2, (count, 1), generator=rng).float(), where], 1)
    named = {"aligned_height": 7, "aligned_width": 5, "spatial_scale": 0.6, "sampling_ratio": sampling, "pool_mode": 1,
             "aligned": aligned}  # fmt: skip
    empty, results = torch.zeros(0), []
    for module in (ours, mmcv):
        output, back = torch.zeros((count, 5, 7, 5)), torch.zeros_like(image)
        module.roi_align_forward(image, rois, output, empty, empty, **named)
        gradient = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
        module.roi_align_backward(gradient, rois, empty, empty, back, **named)
        results.append((output, back))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("model", ["ssd300", "mask_rcnn_r50_fpn"])
def test_networks_predict_the_same_with_either(mmcv, ours, model, tmp_path, monkeypatch):
    """Random weights; boxes, scores and masks to 1e-4 (boxes in shares of the picture)."""
    from mmdet.registry import MODELS

    from defect_detect.backends._mmdet import configs, detecting, environment
    from tests import test_mmdet
    from tests.test_originals import spread

    data = test_mmdet.pictures(tmp_path, 2)
    wanted = test_mmdet.job(model, max_detections=50, **({"image_size": 300} if model == "ssd300" else {}))
    plan = configs.plan(wanted, classes=2)
    with environment.quiet():
        network = spread(MODELS.build(plan.model))
        for head in network.bbox_head.cls_convs if model == "ssd300" else [network.rpn_head.rpn_cls]:
            for part in head.modules():
                if isinstance(part, torch.nn.Conv2d):
                    part.weight.data /= 50  # else most scores would be 1, and which comes first left to a sort

        def predicted() -> Any:
            return detecting.detect(
                network, data, steps=plan.test, floor=0.001, cap=50, batch=1, regions=plan.masks, done=lambda _: None
            )[0]

        theirs = predicted()
        for name in ("nms", "roi_align_forward", "roi_align_backward"):
            monkeypatch.setattr(mmcv, name, getattr(ours, name))
        mine = predicted()
    assert len(theirs) > 20
    assert np.array_equal(mine.label, theirs.label)
    np.testing.assert_allclose(mine.score, theirs.score, atol=1e-4)
    np.testing.assert_allclose(mine.box / 96, theirs.box / 96, atol=1e-4)
    assert mine.region == theirs.region
