"""Into FiftyOne: a detector's results stored by ours, beside FiftyOne's own `add_samples` and `evaluate_detections`.

python benchmarks/explore.py [--images 1000 5000] [--runs 3] [--large 20000]

Speed: one detector, 4 defects and 10 predictions a picture, all of which count, 30 % of the pictures empty, no crowds,
so that both find the same hits and misses (asserted). Theirs: samples made from the same tables, added, evaluated by
`coco`. Ours: matching, judging and `explore.store`, with reasons, views, curves and results for the Model Evaluation
panel. `bare` is our writer with the same pictures and labels and no result: what ours takes beyond it is the marginal
cost of evaluation; theirs is `evaluate_detections`. CPU seconds are those of this process and of its MongoDB, all in
turn, medians of the runs.

Size: three detectors on 20,000 pictures in a process of its own, which is killed on the way and goes on; its peak
memory, its time, and what a threshold takes to change in the panel. The files of pictures are named and never opened.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import multiprocessing
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from timing import one_thread

one_thread()

import numpy as np
from comparison import make

SCORE = 0.4
"""The operating point of the large set, and of the panel."""


def judged(truth: Any, said: dict[str, Any], score: float = SCORE) -> Any:
    from defect_detect.evaluation.matching import evaluate
    from defect_detect.evaluation.reasons import judge

    threshold = np.full(len(truth.categories), score)
    return [judge(name, 0, evaluate(truth, one), threshold) for name, one in said.items()]


def compared(runs: Any) -> Any:
    """A comparison with nothing in it but what is stored of one."""
    from defect_detect.evaluation import agreement
    from defect_detect.evaluation.comparison import Comparison, DatasetFacts, Protocol

    field = {one.name: [one] for one in runs}
    nothing = DatasetFacts(
        name="generated", fingerprints={}, categories=[], images={}, units={}, defective={}, defect_free={}, defects={},
        masks=False, quarantined={}, scale=None, unit="px",
    )  # fmt: skip
    protocol = Protocol(policy="score=0.4", iou=0.5, class_aware=True, resamples=0, seed=0, budget=0.1, versions={})
    return Comparison(
        verdict="", warnings=[], dataset=nothing, protocol=protocol, detectors=[], pairs=[],
        agreement=agreement.agreement(field), rank_stability={}, suspects=agreement.suspects(field),
    )  # fmt: skip


def theirs(fiftyone: Any, truth: Any, said: Any) -> Iterator[Any]:
    """Imports, yields the dataset, and evaluates when asked on."""
    from defect_detect.explore.rows import by_image

    names, sizes = [category.name for category in truth.categories], truth.images.size

    def relative(table: Any) -> Any:
        size = sizes[table.image]
        return np.hstack([table.box[:, :2] / size, (table.box[:, 2:] - table.box[:, :2]) / size]).tolist()

    dataset = fiftyone.Dataset()
    boxes, own = relative(truth.defects), relative(said)
    of, own_of = by_image(truth.defects.image, len(truth.images)), by_image(said.image, len(truth.images))
    dataset.add_samples(
        [
            fiftyone.Sample(
                filepath=f"/pictures/{file}",
                ground_truth=fiftyone.Detections(
                    detections=[
                        fiftyone.Detection(label=names[truth.defects.label[g]], bounding_box=boxes[g]) for g in of[row]
                    ]
                ),
                a=fiftyone.Detections(
                    detections=[
                        fiftyone.Detection(
                            label=names[said.label[p]], bounding_box=own[p], confidence=float(said.score[p])
                        )
                        for p in own_of[row]
                    ]
                ),
            )
            for row, file in enumerate(truth.images.file)
        ],
        progress=False,
    )
    yield dataset
    dataset.evaluate_detections("a", eval_key="e", iou=0.5, progress=False)
    yield dataset


def bare(fiftyone: Any, truth: Any, said: Any) -> Any:
    """Our writer, with nothing to say about the labels; all predictions, as ours stores nearly all of them."""
    from bson import ObjectId

    from defect_detect.explore.objects import blank
    from defect_detect.explore.rows import by_image, defect_id, prediction_id, sample_id
    from defect_detect.explore.writing import write

    dataset = fiftyone.Dataset()
    for field in ("ground_truth", "a"):
        dataset.add_sample_field(field, fiftyone.EmbeddedDocumentField, embedded_doc_type=fiftyone.Detections)
    names, empty = [category.name for category in truth.categories], blank(fiftyone)
    sample = {
        k: v for k, v in fiftyone.Sample(filepath="a.png").to_mongo_dict().items() if v is not None and k != "_id"
    }

    def labels(table: Any, name: Callable[[int], str], score: Any) -> Callable[[int], dict[str, Any]]:
        size, label, of = truth.images.size[table.image], table.label.tolist(), by_image(table.image, len(truth.images))
        boxes = np.hstack([table.box[:, :2] / size, (table.box[:, 2:] - table.box[:, :2]) / size]).tolist()

        def one(row: int) -> dict[str, Any]:
            own = {} if score is None else {"confidence": score[row]}
            return empty | {"_id": ObjectId(name(row)), "label": names[label[row]], "bounding_box": boxes[row]} | own

        return lambda image: {"_cls": "Detections", "detections": [one(row) for row in of[image]]}

    defects = labels(truth.defects, lambda row: defect_id(truth, row), None)
    predictions = labels(said, lambda row: prediction_id(1, row), said.score.tolist())
    rows = (
        sample | {
            "_id": ObjectId(sample_id("0" * 8, row)), "filepath": f"/pictures/{file}", "ground_truth": defects(row),
            "a": predictions(row),
        }
        for row, file in enumerate(truth.images.file)
    )  # fmt: skip
    write(fiftyone, dataset, rows, lambda _: None)
    return dataset


def speed(images: int, runs: int, mongodb: Any) -> None:
    from defect_detect.explore import datasets, service
    from defect_detect.explore.store import store

    truth, all_said = make(images, "test")
    said = {"a": all_said["a"]}
    fiftyone = service.connect()

    def busy() -> float:
        used = mongodb.cpu_times()
        return time.process_time() + used.user + used.system

    taken: dict[str, list[float]] = {name: [] for name in ("import", "evaluate", "ours", "bare")}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(runs + 1):
            started = busy()
            steps = theirs(fiftyone, truth, said["a"])
            next(steps)
            imported = busy()
            dataset = next(steps)
            evaluated = busy()
            counted = [int(dataset.sum(f"e_{end}")) for end in ("tp", "fp", "fn")]
            dataset.delete()

            again = busy()
            found = judged(truth, said, 0.0)
            name = store("bench", compared(found), found, truth, folder=Path(place))
            stored = busy()
            dataset = fiftyone.load_dataset(name)
            assert counted == [int(dataset.sum(f"a_{end}")) for end in ("tp", "fp", "fn")]
            datasets.remove(Path(place))

            last = busy()
            plain = bare(fiftyone, truth, said["a"])
            written = busy()
            plain.delete()
            if turn or not runs:
                spent = (imported - started, evaluated - imported, stored - again, written - last)
                for key, seconds in zip(taken, spent, strict=True):
                    taken[key].append(seconds)
    rounds = list(zip(*taken.values(), strict=True))
    whole = statistics.median((imported + evaluated) / ours for imported, evaluated, ours, _ in rounds)
    marginal = statistics.median(evaluated / max(ours - plain, 1e-9) for _, evaluated, ours, plain in rounds)
    told = ", ".join(f"{name} {statistics.median(seconds):.2f} s" for name, seconds in taken.items())
    print(f"{images:,} images: {told}; end to end {whole:.1f} x, marginal {marginal:.1f} x")
    print("  " + "; ".join(f"{name} {' '.join(f'{one:.2f}' for one in seconds)}" for name, seconds in taken.items()))


@contextmanager
def own_mongodb() -> Iterator[Any]:
    """A MongoDB of the benchmark's own: FiftyOne would share whichever it finds running."""
    import psutil

    spec = importlib.util.find_spec("fiftyone")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    binary = Path(spec.submodule_search_locations[0]) / "db/bin/mongod"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        command = [binary, "--dbpath", home, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            os.environ["FIFTYONE_DATABASE_URI"] = f"mongodb://127.0.0.1:{port}/"
            while True:
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            yield psutil.Process(process.pid)
            process.terminate()


def large(images: int, place: str, answer: Connection) -> None:
    """Store three detectors; answers with each batch's progress, then what it took."""
    from defect_detect.explore import service
    from defect_detect.explore.store import store

    truth, said = make(images, "test")
    found = judged(truth, said)
    comparison = compared(found)
    with service.quiet():
        service.connect()
        before, started, used = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            time.perf_counter(),
            time.process_time(),
        )
        store("large", comparison, found, truth, folder=Path(place), progress=lambda done, of: answer.send((done, of)))
        spent = (time.perf_counter() - started, time.process_time() - used)
    answer.send((*spent, before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def size(images: int) -> None:
    from defect_detect.explore import datasets, service

    fiftyone = service.connect()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        for kill in (True, False):
            mine, other = context.Pipe()
            process = context.Process(target=large, args=(images, place, other))
            process.start()
            first = last = mine.recv()
            while len(last) == 2:
                if kill and last[0] >= images // 2:
                    os.kill(process.pid or 0, signal.SIGKILL)
                    break
                last = mine.recv()
            process.join()
            if kill:
                print(f"killed at {last[0]:,} of {images:,}: found as whole: {datasets.find(Path(place))}")
            else:
                wall, busy, before, peak = last
                print(f"went on from {first[0]:,}: {wall:.0f} s, {busy:.0f} CPU s, peak {peak:,.0f} MiB, of which "
                      f"{before:,.0f} before the first was written")  # fmt: skip
        dataset = fiftyone.load_dataset(datasets.find(Path(place)))
        runs = dataset.info["defect_detect"]["runs"]
        left_out = [run["left_out"] for run in runs]
        print(f"{len(dataset):,} samples; predictions left out: {left_out} of {runs[0]['predictions']:,}")
        truth, said = make(images, "test")
        for run, one in zip(runs, judged(truth, said), strict=True):
            assert int(dataset.sum(f"{run['key']}_fn")) == int((truth.defects.counts & ~one.found).sum())
            assert dataset.count_values(f"ground_truth.detections.{run['key']}")["tp"] == int(one.found.sum())
        datasets.remove(Path(place))


def panel(images: int) -> None:
    """What a dragged threshold takes: all figures with intervals, who missed what, and every slice."""
    from defect_detect.evaluation import agreement, compare, figures, sliced
    from defect_detect.evaluation.judged import Contender, Rule, Run
    from defect_detect.evaluation.matching import evaluate
    from defect_detect.explore import columns, operating

    truth, said = make(images, "test")
    contenders = tuple(
        Contender(name=name, runs=(Run(seed=0, test=evaluate(truth, one), validation=None, manifest=None),))
        for name, one in said.items()
    )
    draws = compare.drawn(contenders, 0, 2000)
    held = columns.laid_out(Path(), compared(judged(truth, said)), contenders, Rule(), draws)
    spent: dict[str, list[float]] = {"figures": [], "with agreement and slices": []}
    for score in np.linspace(0.1, 0.9, 9):
        started = time.process_time()
        entrants = columns.at(held, operating.at_score(held, float(score)))
        for one in entrants:
            figures.figures(one)
        spent["figures"].append(time.process_time() - started)
        agreement.agreement({one.name: one.judged for one in entrants})
        for one in entrants:
            sliced.sliced(one, held.draws)
        spent["with agreement and slices"].append(time.process_time() - started)
    started = time.process_time()
    columns.under(held, Rule(iou=0.3))
    rematched = time.process_time() - started
    told = ", ".join(f"{name} {statistics.median(one):.2f} s (at most {max(one):.2f})" for name, one in spent.items())
    print(f"a threshold on {images:,} images x 3: {told}; another IoU {rematched:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[1000, 5000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--large", type=int, default=20000, help="0: leave it out")
    arguments = parser.parse_args()
    versions = {name: importlib.metadata.version(name) for name in ("fiftyone", "pymongo", "numpy")}
    print(f"Python {sys.version.split()[0]}, {versions}", flush=True)
    with own_mongodb() as mongodb:
        from defect_detect.explore import service

        with service.quiet():
            for images in arguments.images:
                speed(images, arguments.runs, mongodb)
            if arguments.large:
                size(arguments.large)
                panel(arguments.large)


if __name__ == "__main__":
    main()
