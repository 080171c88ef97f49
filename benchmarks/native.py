"""What the compiled extension gains: files to misses at 101 thresholds (boxes, IoU 0.5), beside the peers.

python benchmarks/native.py [--images 5000] [--runs 5]

CPU time, one thread, in turn; all curves must be equal.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import tempfile
from pathlib import Path

import timing

FAST = ("ultrafast-pycocotools", "ultrafast, as it comes", "hotcoco", "vernier")
PACKAGES = ("ultrafast-pycocotools", "hotcoco", "vernier")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    timing.one_thread()

    import generated
    import judges

    from defect_detect import native

    if native.compiled is None:
        raise SystemExit("the extension was not built")
    kept = native.compiled

    def ours(root: Path, compiled: object) -> object:
        native.compiled = compiled  # type: ignore[assignment]
        try:
            return judges.ours(root, "a")[0]
        finally:
            native.compiled = kept

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generated.make(root, arguments.images)
        versions = {name: importlib.metadata.version(name) for name in ("numpy", "msgspec", *PACKAGES)}
        print(versions, "1 thread,", arguments.images, "images")
        works = {"ours": lambda: ours(root, kept), "ours, pure": lambda: ours(root, None)}
        works |= {name: (lambda judge=judges.PEERS[name]: judge(root, "a")) for name in FAST}
        seconds, answers = timing.taken(works, arguments.runs)
        assert all(answer == answers["ours"] for answer in answers.values())
        print(timing.table(seconds, "ours"))


if __name__ == "__main__":
    main()
