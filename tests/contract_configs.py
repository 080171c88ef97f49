"""The config with which the contract suite tries each backend: a shipped one, made small."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defect_detect import config, job
from tests import contract_data

ROOT = Path(__file__).parents[1]
CAP, FLOOR = 100, 0.0001
_NARROW = {
    "model": {
        "backbone": {"depth": 18}, "neck": {"in_channels": [64, 128, 256, 512], "out_channels": 16},
        "rpn_head": {"in_channels": 16, "feat_channels": 16},
        "train_cfg": {"rpn_proposal": {"nms_pre": 100, "max_per_img": 50}, "rcnn": {"sampler": {"num": 32}}},
        "test_cfg": {"rpn": {"nms_pre": 100, "max_per_img": 30}},
        "roi_head": {
            "bbox_roi_extractor": {"out_channels": 16}, "bbox_head": {"in_channels": 16, "fc_out_channels": 32},
            "mask_roi_extractor": {"out_channels": 16},
            "mask_head": {"in_channels": 16, "conv_out_channels": 16, "num_convs": 1},
        },
    }
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiny:
    """How a backend is tried: a shipped config, made small; whether it goes on after a kill or begins anew."""

    config: str
    sets: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    goes_on: bool = True


BACKENDS = {
    "classical": Tiny(config="baseline/classical.yaml", sets=("options.sleep=0.05",), goes_on=False),
    "torchvision": Tiny(
        config="maskrcnn/mask_rcnn_light.yaml",
        sets=(
            "options.model.fpn_channels=16", "options.model.box_head=32", "options.model.mask_layers=[16]",
            "options.model.rpn_pre_nms_top_n_train=100", "options.model.rpn_post_nms_top_n_train=50",
            "options.model.rpn_pre_nms_top_n_test=100", "options.model.rpn_post_nms_top_n_test=30",
        ),
    ),
    "ultralytics": Tiny(config="yolo/yolo26n_light.yaml"),
    "detectron2": Tiny(
        config="maskrcnn/detectron2_mask_rcnn_light.yaml",
        options={
            "override": {
                "MODEL.FPN.OUT_CHANNELS": 32, "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 32, "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
                "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 100, "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
                "MODEL.RPN.PRE_NMS_TOPK_TEST": 100, "MODEL.RPN.POST_NMS_TOPK_TEST": 30,
                "MODEL.ROI_MASK_HEAD.NUM_CONV": 1, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
                "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
            },
        },
    ),
    "mmdet": Tiny(config="maskrcnn/mmdet_mask_rcnn_r50_fpn.yaml", options={"override": _NARROW}),
}  # fmt: skip
"""By name. A backend of this package that isn't here fails the suite."""


def wanted(name: str, run: Path, root: Path) -> job.TrainJob:
    """The training of backend `name` on the dataset at `root`."""
    tiny = BACKENDS[name]
    smaller = ("epochs=2", f"image_size={contract_data.SIDE}", "batch=4", "threads=1", "weights=none", "device=cpu",
               f"score_floor={FLOOR}", f"max_detections={CAP}")  # fmt: skip
    made = config.read(ROOT / "configs" / tiny.config, [*smaller, *tiny.sets])
    assert made.framework == name
    options = {key: {**made.options.get(key, {}), **more} for key, more in tiny.options.items()}
    return job.TrainJob(
        detector=made.name, framework=name, model=made.model, dataset=os.path.relpath(root, run), seed=3,
        settings=made.settings, options={**made.options, **options},
    )  # fmt: skip
