"""Feed what a comparison reads whatever a coverage-guided fuzzer makes up: only the project's errors may come out.

    python -m pip install atheris
    python benchmarks/fuzz/reading.py splits CORPUS -len_control=0 -max_total_time=1200

The first argument says what is read:

    splits       a split file and dataset.json of a normalized dataset, by the compiled reader and without it
    predictions  COCO results about it, by both readers; then they are judged
    runs         job.json, result.json, manifest.json of runs
    review       a review file; then the truth is corrected by it
    table        the same review as CSV
    folder       request.json and comparison.json of a finished comparison, as a baseline or to be explored

An input is raw bytes or choices by which a sound file is spoilt, as its first byte says. What is accepted must
be sound: finite boxes inside their pictures, ids that lead somewhere, rates between 0 and 1. A message has at
most 100,000 characters. A crash leaves its input as crash-* in the working directory. Needs Linux on x86-64;
atheris is no dependency.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["defect_detect.data", "defect_detect.job", "defect_detect.folder",
                                         "defect_detect.evaluation.review", "defect_detect.report.review_csv",
                                         "defect_detect.report.review_row"]):  # fmt: skip
    from defect_detect import folder, job, runner, trials
    from defect_detect.data import coco, normalize, predictions
    from defect_detect.errors import DefectDetectError, InputError
    from defect_detect.evaluation import review as reviews
    from defect_detect.report import review_csv

import mutating
import numpy as np
from PIL import Image
from rich.console import Console

from defect_detect import comparing, gating, native
from defect_detect.evaluation import matching, reviewed_truth
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.tables import Dataset, Predictions

MEMORY = Path("/dev/shm")  # noqa: S108 - thousands of small files, each gone at once
SCRATCH = Path(tempfile.mkdtemp(prefix="defect-detect-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
os.environ["DEFECT_DETECT_CACHE"] = "off"
WIDTH, HEIGHT = 60, 40
LONGEST = 100_000
COMPILED = native.compiled
Tree = Any


def dataset(*, masks: bool) -> Path:
    """Twelve pictures of 60 x 40 px, normalized and split."""
    place = SCRATCH / ("masks" if masks else "boxes")
    (place / "images").mkdir(parents=True)
    listed, marked = [], []
    for n in range(1, 13):
        noise = np.random.default_rng(n).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
        Image.fromarray(noise).save(place / "images" / f"p{n}.png")
        listed.append({"id": n, "file_name": f"p{n}.png", "width": WIDTH, "height": HEIGHT})
        for k in range(n % 3):
            x = 4 + n + 9 * k
            ring = {"segmentation": [[x, 6, x + 20, 6, x + 20, 16, x, 16]]} if masks else {}
            marked.append({"id": len(marked) + 1, "image_id": n, "category_id": 1 + (n + k) % 2,
                           "bbox": [x, 6, 20, 10], "area": 200, "iscrowd": 0, **ring})  # fmt: skip
    content = {"images": listed, "annotations": marked,
               "categories": [{"id": 1, "name": "pit"}, {"id": 2, "name": "scratch"}]}  # fmt: skip
    (place / "export.json").write_text(json.dumps(content))
    return normalize.normalize(place / "export.json", images=None, out=place / "dataset").root


def said_of(truth: Dataset) -> Predictions:
    """What a detector says that finds most."""
    box = truth.defects.box + 0.5
    box[:, 2:] -= 0.5
    score = np.linspace(0.2, 0.9, len(box))
    return Predictions(image=truth.defects.image, label=truth.defects.label, box=box, score=score)


def sound(data: Dataset) -> None:
    """The table's promises."""
    box, size = data.defects.box, data.images.size[data.defects.image]
    assert np.isfinite(box).all()
    assert (box[:, :2] >= 0).all()
    assert (box[:, 2:] <= size).all()
    assert (box[:, 2:] > box[:, :2]).all()
    assert (data.images.size > 0).all()
    assert np.isfinite(data.defects.area).all()
    assert (data.defects.area >= 0).all()
    assert len(set(data.images.id.tolist())) == len(data.images) == len(set(data.images.file))
    assert len(set(data.defects.id.tolist())) == len(data.defects)
    assert ((data.defects.label >= 0) & (data.defects.label < len(data.categories))).all()
    assert len({one.name for one in data.categories}) == len(data.categories)
    assert [one.id for one in data.categories] == list(range(1, len(data.categories) + 1))
    for name in data.images.file:
        assert (data.root / name).resolve().is_relative_to(data.root.resolve() / "images"), name


def accepted(action: Callable[[], Any], kind: type[Exception] = InputError) -> Any:
    """The value, or None where it is refused in at most 100,000 characters."""
    try:
        return action()
    except kind as error:
        message = str(error)
        assert 0 < len(message) <= LONGEST, len(message)
        return None


def by_both(action: Callable[[], Any]) -> tuple[Any, Any]:
    """What comes of it by the compiled reader, and without it."""
    found = []
    for compiled in (COMPILED, None):
        native.compiled = compiled
        try:
            found.append(accepted(action))
        finally:
            native.compiled = COMPILED
    return found[0], found[1]


def same(one: Any, other: Any) -> None:
    """The columns of two tables are equal to the bit."""
    assert (one is None) == (other is None), (one, other)
    if one is not None:
        for name in type(one).__dataclass_fields__:
            a, b = getattr(one, name), getattr(other, name)
            if isinstance(a, np.ndarray):
                assert a.dtype == b.dtype, name
                assert a.tobytes() == b.tobytes(), name


class Splits:
    """`coco.load` and `coco.describe`."""

    def __init__(self) -> None:
        self.roots = [dataset(masks=False), dataset(masks=True)]
        self.sound = [
            {name: json.loads((root / name).read_bytes()) for name in ("dataset.json", "test.json")}
            for root in self.roots
        ]
        self.seeds = [(root / "test.json").read_bytes() for root in self.roots]
        self.whole = [
            {name: (root / name).read_bytes() for name in ("dataset.json", "test.json")} for root in self.roots
        ]

    def __call__(self, kind: int, data: Any) -> None:
        """One input."""
        which, name = kind & 1, "dataset.json" if kind & 0xE0 == 0xE0 else "test.json"
        root = self.roots[which]
        raw = (
            data.ConsumeBytes(1 << 20) if kind & 16 else mutating.text(mutating.mutated(data, self.sound[which][name]))
        )
        (root / name).write_bytes(raw)
        try:
            if name == "dataset.json":
                accepted(lambda: coco.splits(root))
                coco.is_normalized(root)
                return
            one, other = by_both(lambda: coco.load(root, "test"))
            for made in (one, other):
                if made is not None:
                    sound(made)
                    judged = matching.evaluate(made, said_of(made))
                    assert judged is not None
            if one is not None and other is not None:
                same(one.defects, other.defects)
                same(one.images, other.images)
            else:
                assert one is other, (one, other)
        finally:
            (root / name).write_bytes(self.whole[which][name])


class Said:
    """`predictions.read`, and what is judged of it."""

    def __init__(self) -> None:
        root = dataset(masks=True)
        self.truth = coco.load(root, "test")
        self.train = coco.load(root, "train")
        self.path = SCRATCH / "said.json"
        predictions.write(self.path, said_of(self.truth), self.truth)
        plain = json.loads(self.path.read_bytes())
        named = [{"file_name": Path(self.truth.images.file[0]).name, "category_name": "pit", "bbox": [1, 1, 9, 9],
                  "score": 0.5}]  # fmt: skip
        sides = [HEIGHT, WIDTH]
        masked = [{**one, "segmentation": {"size": sides, "counts": coded(self.truth)}} for one in plain]
        ringed = [{**one, "segmentation": [[1, 1, 9, 1, 9, 9]]} for one in plain]
        self.sound = [plain, named, masked, ringed]
        self.seeds = [mutating.text(one) for one in self.sound]

    def __call__(self, kind: int, data: Any) -> None:
        """One input."""
        tree = self.sound[kind & 3]
        self.path.write_bytes(data.ConsumeBytes(1 << 20) if kind & 16 else mutating.text(mutating.mutated(data, tree)))
        ids = ("auto", "normalized", "source", "auto")[kind >> 2 & 3]
        one, other = by_both(lambda: predictions.read(self.path, self.truth, ids=ids))
        same(one, other)
        if one is None:
            return
        assert np.isfinite(one.box).all()
        assert (one.box[:, 2:] >= one.box[:, :2]).all()
        assert ((one.score >= 0) & (one.score <= 1)).all()
        judged = matching.evaluate(self.truth, one)
        assert judged.matching.found_at.max(initial=0) <= 1
        predictions.write(self.path, one, self.truth)
        again = predictions.read(self.path, self.truth, ids="normalized")
        assert len(again) == len(one)


def coded(truth: Dataset) -> str:
    """Run lengths of a small square in pictures of this size."""
    from defect_detect.data.regions import encode_counts

    width, height = truth.images.size[0].tolist()
    return encode_counts([height + 3, 9, width * height - height - 12]).decode()


class Runs:
    """`job.json`, `result.json` and `manifest.json`."""

    def __init__(self) -> None:
        self.home = SCRATCH / "runs" / "a-0"
        self.home.mkdir(parents=True)
        self.wanted = job.TrainJob(detector="a", framework="classical", model="bright_dark", dataset="../../dataset",
                                   fingerprints={"train": "f", "val": "f"}, seed=0, settings=job.Settings(),
                                   tiling=job.Tiling(size=64))  # fmt: skip
        outcome = job.TrainOutcome(checkpoint="checkpoint.json", images_seen=3, defect_free_seen=1, parameters=5,
                                   initial_weights="none")  # fmt: skip
        history = job.History(epochs=1, best_epoch=1, best_score=0.5, stopped_early=False, under_trained=False)
        trained = job.Trained(outcome=outcome, history=history, checkpoint_sha256="0" * 64, versions={"python": "3"},
                              dataset_fingerprints={"train": "f"}, seconds=1, peak_memory_bytes=1)  # fmt: skip
        predicted = job.Predicted(predictions="predictions.json", predictions_sha256="0" * 64, manifest="manifest.json",
                                  seconds=1, peak_memory_bytes=1, latency_p50=None, latency_p95=0.1)  # fmt: skip
        failed = job.Failed(kind="failed", message="no")
        predict = job.PredictJob(trained="../..", dataset="../../../../dataset", split="test")
        manifest = job.Manifest(
            detector="a", framework="classical", model="bright_dark", family="blob", seed=0, versions={},
            checkpoint_sha256="", dataset_fingerprint="f", split="test", images_sha256="", images=1, categories=["pit"],
            score_floor=0.001, max_detections=100, decode_policy="1", tiling="none", nms_iou=None, input_size="as is",
            initial_weights="none", masks="none", epochs=1, images_seen=1, defect_free_seen=0, stopped_early=False,
            under_trained=False, predictions_sha256="",
        )  # fmt: skip
        values = [self.wanted, predict, trained, predicted, failed, manifest]
        self.sound = [json.loads(job.encode(one)) for one in values]
        self.seeds = [job.encode(one) for one in values]

    def __call__(self, kind: int, data: Any) -> None:
        """One input."""
        which = kind % len(self.sound)
        raw = data.ConsumeBytes(1 << 16) if kind & 16 else mutating.text(mutating.mutated(data, self.sound[which]))
        name = ("job.json", "job.json", "result.json", "result.json", "result.json", "manifest.json")[which]
        for other, tree in (("job.json", 0), ("result.json", 2), ("manifest.json", 5)):
            (self.home / other).write_bytes(raw if other == name else self.seeds[tree])
        # A checkpoint or predictions named elsewhere would be read there.
        assert runner.finished(self.home, self.wanted) is None
        accepted(lambda: folder.read_manifest(self.home))
        accepted(lambda: trials.training(self.home))


class Reviews:
    """`review.read`, and the truth that comes of it."""

    def __init__(self) -> None:
        root = dataset(masks=True)
        self.truth = coco.load(root, "test")
        said = said_of(self.truth)
        self.contenders = [Contender(name="a", runs=(Run(
            seed=0, test=matching.evaluate(self.truth, said), validation=None, manifest=None, validation_manifest=None,
        ),))]  # fmt: skip
        names = [one.name for one in self.truth.categories]
        header = {
            "review": 1,
            "dataset": self.truth.fingerprint,
            "split": "test",
            "sample": {"drawn": 1, "of": 2, "seed": 0},
        }
        defects = [
            {"decision": word, "image": self.truth.images.file[self.truth.defects.image[row]],
             "category": names[self.truth.defects.label[row]], "box": self.truth.defects.box[row].tolist(),
             "annotation": int(self.truth.defects.id[row])}
            for row, word in zip(range(len(self.truth.defects)), reviews.OF_DEFECTS * 9, strict=False)
        ]  # fmt: skip
        places = [
            {"decision": word, "image": self.truth.images.file[self.truth.defects.image[row]],
             "detector": "a", "seed": 0, "category": names[self.truth.defects.label[row]],
             "box": said.box[row].tolist(), "score": 0.5,
             "true_box": [1, 1, 9, 9], "true_category": "pit", "note": "x"}
            for row, word in zip(range(len(said)), reviews.OF_PLACES * 9, strict=False)
        ]  # fmt: skip
        self.sound = [[header, *defects[:2], *places[:3]]]
        self.path = SCRATCH / "review.jsonl"
        self.seeds = [self._lines(self.sound[0])]

    @staticmethod
    def _lines(tree: Tree) -> bytes:
        return b"\n".join(map(mutating.text, tree if isinstance(tree, list) else [tree]))

    def __call__(self, kind: int, data: Any) -> None:
        """One input."""
        raw = data.ConsumeBytes(1 << 16) if kind & 16 else self._lines(mutating.mutated(data, self.sound[0]))
        self.path.write_bytes(raw)
        read = accepted(lambda: reviews.read(self.path))
        if read is None:
            return
        made = accepted(lambda: reviewed_truth.corrected(self.truth, read, self.contenders))
        if made is not None:
            sound(replace(made, root=self.truth.root))
        assert reviews.read(self.path) == read


class Tables(Reviews):
    """`review_csv.read`: the same review as a table for spreadsheets."""

    def __init__(self) -> None:
        super().__init__()
        self.path.write_bytes(self.seeds[0])
        table = review_csv.encode(reviews.read(self.path), Path("review.csv"))
        self.path, self.seeds = SCRATCH / "review.csv", [table]
        self.cells = list(csv.reader(io.StringIO(table.decode("utf-8-sig"))))

    def __call__(self, kind: int, data: Any) -> None:
        """One input."""
        raw = data.ConsumeBytes(1 << 16) if kind & 16 else self._table(mutating.mutated(data, self.cells))
        self.path.write_bytes(raw)
        read = accepted(lambda: review_csv.read(self.path))
        if read is None:
            return
        made = accepted(lambda: reviewed_truth.corrected(self.truth, read, self.contenders))
        if made is not None:
            sound(replace(made, root=self.truth.root))
        self.path.write_bytes(review_csv.encode(read, self.path))
        assert review_csv.read(self.path) == read

    @staticmethod
    def _table(tree: Tree) -> bytes:
        buffer = io.StringIO()
        writer = csv.writer(buffer, quoting=csv.QUOTE_MINIMAL, escapechar="\\")
        for row in tree if isinstance(tree, list) else [tree]:
            writer.writerow([str(cell) for cell in row] if isinstance(row, list) else [str(row)])
        return buffer.getvalue().encode("utf-8", "surrogatepass")


class Folder:
    """`folder.load` and a baseline, on a finished comparison."""

    def __init__(self) -> None:
        root = dataset(masks=False)
        self.place = SCRATCH / "comparison"
        given = []
        for split in ("val", "test"):
            truth = coco.load(root, split)
            predictions.write(SCRATCH / f"{split}.json", said_of(truth), truth)
            given.append(f"a:{split}={SCRATCH / split}.json")
        console = Console(file=io.StringIO())
        comparing.run(
            comparing.Source(path=root), self.place, detectors=[], given=given, fiftyone=False, console=console,
            judging=comparing.Judging(resamples=20),
        )  # fmt: skip
        self.truth = coco.load(root, "test")
        self.names = ("request.json", "comparison.json")
        self.whole = {name: (self.place / name).read_bytes() for name in self.names}
        self.sound = [json.loads(self.whole[name]) for name in self.names]
        self.seeds = list(self.whole.values())

    def __call__(self, kind: int, data: Any) -> None:
        """One input."""
        which = kind & 1
        tree = self.sound[which]
        raw = data.ConsumeBytes(1 << 20) if kind & 16 else mutating.text(mutating.mutated(data, tree))
        (self.place / self.names[which]).write_bytes(raw)
        try:
            accepted(lambda: folder.load(self.place), DefectDetectError)
            accepted(lambda: gating.ready(gating.Gate(conditions=[], baseline=self.place), self.truth.root))
        finally:
            for name, content in self.whole.items():
                (self.place / name).write_bytes(content)


TARGETS: dict[str, Callable[[], Any]] = {
    "splits": Splits, "predictions": Said, "runs": Runs, "review": Reviews, "table": Tables,
    "folder": Folder,
}  # fmt: skip


def main() -> None:
    """Fuzz the target that the first argument names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target = TARGETS[sys.argv[1]]()
    arguments = [sys.argv[0], *sys.argv[2:]]
    corpus = next((Path(each) for each in arguments[1:] if not each.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(target.seeds):
            (corpus / f"sound{number}").write_bytes(b"\x10" + content)
        for number in range(16):
            choices = np.random.default_rng(number).bytes(400)
            (corpus / f"choices{number}").write_bytes(bytes([number]) + choices)

    def one(raw: bytes) -> None:
        target(raw[0] if raw else 0, atheris.FuzzedDataProvider(raw[1:]))

    atheris.Setup(arguments, one)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


if __name__ == "__main__":
    main()
