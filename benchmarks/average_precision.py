"""The twelve COCO figures of boxes, beside the COCO libraries on the same files.

python benchmarks/average_precision.py [--images 5000] [--runs 5]

Two works: from files to figures, and from what is loaded to figures. CPU time, one thread, in turn.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing

PEERS = {"ultrafast-pycocotools": "ultrafast_pycocotools", "hotcoco": "hotcoco"}
NAMES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


def loaded(module: str, root: Path) -> tuple[Any, Any, Any]:
    """The library's module, its ground truth and its results."""
    library = importlib.import_module(module)
    truth = library.COCO(str(root / "test.json"))
    return library, truth, (truth.load_res if hasattr(truth, "load_res") else truth.loadRes)(str(root / "a.json"))


def summarized(library: Any, truth: Any, said: Any) -> Any:
    judged = library.COCOeval(truth, said, "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    timing.one_thread()

    import generated
    import numpy as np

    from defect_detect import native
    from defect_detect.data import coco, predictions
    from defect_detect.evaluation.average_precision import average_precision

    def without_extension(work: Callable[[], Any]) -> Any:
        kept, native.compiled = native.compiled, None
        try:
            return work()
        finally:
            native.compiled = kept

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generated.make(root, arguments.images)
        truth = coco.load(root, "test")
        said = predictions.read(root / "a.json", truth)

        def files() -> Any:
            dataset = coco.load(root, "test")
            return average_precision(dataset, predictions.read(root / "a.json", dataset))

        def tables() -> Any:
            return average_precision(truth, said)

        versions = {name: importlib.metadata.version(name) for name in ("numpy", *PEERS)}
        print(versions, "1 thread,", arguments.images, "images, extension:", native.compiled is not None)
        ready = {name: loaded(module, root) for name, module in PEERS.items()}
        for title, own, peers in (
            ("files to figures", files, {n: (lambda m=m: summarized(*loaded(m, root))) for n, m in PEERS.items()}),
            ("loaded to figures", tables, {n: (lambda r=r: summarized(*r)) for n, r in ready.items()}),
        ):
            works = {"ours": own, "ours, pure": lambda own=own: without_extension(own), **peers}
            seconds, answers = timing.taken(works, arguments.runs)
            figures = [getattr(answers["ours"], name) for name in NAMES]
            assert answers["ours, pure"] == answers["ours"]
            for name in PEERS:
                np.testing.assert_allclose(figures, answers[name], rtol=0, atol=1e-9)
            print(f"\n{title}\n{timing.table(seconds, 'ours')}")


if __name__ == "__main__":
    main()
