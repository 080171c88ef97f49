"""The reference: pycocotools on the same scene, fed in content order, honouring `ignore`."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class HonestIgnore(COCOeval):
    """`COCOeval._prepare` overwrites a defect's `ignore` with its `iscrowd`; put it back."""

    def _prepare(self):
        super()._prepare()
        for rows in self._gts.values():
            for row in rows:
                row["ignore"] = int(row["ignore"] or row["keep_ignored"])


def reference(truth, said, *, kind="bbox", max_dets=(1, 10, 100), one_class=False, ious=None):
    """An evaluated COCOeval; prediction ids are row + 1, annotation ids row + 1."""
    defects, coco = truth.defects, COCO()
    coco.dataset = {
        "info": {},
        "images": [
            {"id": int(i), "width": int(w), "height": int(h)}
            for i, (w, h) in zip(truth.images.id, truth.images.size, strict=True)
        ],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(1 if one_class else len(truth.categories))],
        "annotations": [
            {
                "id": int(row) + 1,
                "image_id": int(truth.images.id[defects.image[row]]),
                "category_id": 1 if one_class else int(defects.label[row]) + 1,
                "bbox": _xywh(defects.box[row]),
                "area": float(defects.area[row]),
                "iscrowd": int(defects.crowd[row]),
                "keep_ignored": int(defects.ignore[row]),
                **_region(defects.region, row),
            }
            for row in np.lexsort((defects.label, *defects.box.T[::-1]))
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        dets = COCO()
        dets.dataset = {key: coco.dataset[key] for key in ("info", "images", "categories")}
        dets.dataset["annotations"] = [
            {
                "id": int(row) + 1,
                "image_id": int(truth.images.id[said.image[row]]),
                "category_id": 1 if one_class else int(said.label[row]) + 1,
                "bbox": _xywh(said.box[row]),
                "area": _area(said, row, kind),
                "iscrowd": 0,
                "score": float(said.score[row]),
                **_region(said.region, row),
            }
            for row in np.lexsort((said.label, *said.box.T[::-1], -said.score))
        ]
        dets.createIndex()
        run = HonestIgnore(coco, dets, kind)
        run.params.maxDets = list(max_dets)
        if ious is not None:
            run.params.iouThrs = np.array(ious)
        run.evaluate()
    return run


def summarized(run):
    """COCOeval's twelve figures."""
    with contextlib.redirect_stdout(io.StringIO()):
        run.accumulate()
        run.summarize()
    return run.stats


def pairs(run, tind=0):
    """{prediction row: defect row} of hits, and the rows of absorbed predictions (area range `all`)."""
    hits, absorbed = {}, set()
    for result in run.evalImgs:
        if result is None or result["aRng"] != run.params.areaRng[0]:
            continue
        ignored = dict(zip(result["gtIds"], result["gtIgnore"], strict=True))
        for det, gt in zip(result["dtIds"], result["dtMatches"][tind], strict=True):
            if gt > 0 and ignored[int(gt)]:
                absorbed.add(det - 1)
            elif gt > 0:
                hits[det - 1] = int(gt) - 1
    return hits, absorbed


def _xywh(box):
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def _region(regions, row):
    if regions is None:
        return {}
    rle = regions[row]
    return {"segmentation": {"size": [rle.height, rle.width], "counts": rle.counts}}


def _area(said, row, kind):
    from defect_detect import geometry

    if kind == "segm":
        return geometry.region_area(said.region[row])
    return float(geometry.area(said.box[row : row + 1])[0])
