"""A comparison struck while it is written to FiftyOne: what its database must hold after each blow, and at the end.

The database is a MongoDB of the harness, looked at past FiftyOne. It may be what is struck, too: then it is started
again where its files are.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defect_detect.explore import datasets, names, service
from tests.faults import cycles

_PASSING = ("created_at", "last_modified_at", "_dataset_id", "_rand")
"""Fields of a sample that differ between two exports of the same."""
_STARTS = 60


class Database:
    """A MongoDB of one's own, which can be struck and started again."""

    def __init__(self, home: Path) -> None:
        # Where FiftyOne keeps it, without FiftyOne, which would look for a database when it is imported.
        package = importlib.util.find_spec("fiftyone")
        if package is None or package.origin is None:
            raise cycles.Broken("FiftyOne isn't installed")
        binary = Path(package.origin).with_name("db") / "bin" / "mongod"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        home.mkdir(parents=True, exist_ok=True)
        self.command = [
            str(binary), "--dbpath", str(home), "--port", str(self.port), "--bind_ip", "127.0.0.1",
            "--nounixsocket",
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"

    def start(self) -> int:
        """Start it unless it runs; its process id."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            import pymongo

            client: Any = pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=1000 * _STARTS)
            with client:
                client.server_info()
        return self.process.pid

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


@dataclass(frozen=True, slots=True)
class Held:
    """What the database holds of one comparison's folder.

    named   datasets by name -> hash of all that matters in them, `` for one that isn't complete
    counts  documents of each collection that datasets own parts of
    """

    named: dict[str, str]
    counts: dict[str, int]


def held(uri: str, name: str) -> Held:
    import pymongo

    client: Any = pymongo.MongoClient(uri)
    with client:
        database = client[name]
        named, owned, counts = {}, set[str](), Counter[str]()
        for one in database.datasets.find({}):
            info = (one.get("info") or {}).get(names.NAMESPACE)
            complete = bool(info) and info["complete"]
            named[one["name"]] = _digest(database, one) if complete else ""
            owned.add(one["sample_collection_name"])
        for collection in database.list_collection_names():
            if collection.startswith("samples."):
                counts["samples"] += 1
                if collection not in owned:
                    counts["samples of no dataset"] += 1
            elif collection.startswith(("runs", "views", "workspaces", "fs.", "datasets")):
                counts[collection] += database[collection].count_documents({})
        return Held(named=named, counts={name: count for name, count in counts.items() if count})


def _digest(database: Any, dataset: dict[str, Any]) -> str:
    samples = database[dataset["sample_collection_name"]].find({}).sort("_id", 1)
    said = [{name: value for name, value in one.items() if name not in _PASSING} for one in samples]
    parts = (
        said,
        sorted(dataset.get("evaluations") or {}),
        sorted(one["name"] for one in database.views.find({"_dataset_id": dataset["_id"]})),
        sorted(one["name"] for one in database.workspaces.find({"_dataset_id": dataset["_id"]})),
        sorted(one["name"] for one in dataset["sample_fields"]),
        re.sub(r'"_id": "[0-9a-f]{24}"', "", json.dumps(dataset["app_config"], sort_keys=True, default=str)),
        {name: value for name, value in dataset["info"][names.NAMESPACE].items() if name != "pid"},
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A finished comparison, how it stands in `database` under the name `name`, and the steps of writing it there."""

    database: Database
    name: str
    files: cycles.Reference
    out: Path
    held: Held
    steps: int
    seconds: float


def undisturbed(command: cycles.Command, place: Path, database: Database, name: str) -> Reference:
    """Run it in peace, then once more without what it stored."""
    out = place / "reference"
    files = cycles.undisturbed(command, place)
    forget(database.uri, name)
    trace = place / "trace.txt"
    trace.unlink()
    started = time.monotonic()
    ended = cycles.run(command, out, {"trace": str(trace), "fresh": False}, place)
    seconds = time.monotonic() - started
    if ended.returncode:
        raise cycles.Broken(f"the undisturbed run failed:\n{ended.stderr}")
    steps = sum(line.split("\t")[1] == "database" for line in trace.read_text().splitlines())
    found = held(database.uri, name)
    if not steps or [*found.named] != [names.dataset_name(out)] or not all(found.named.values()):
        raise cycles.Broken(f"undisturbed, nothing was stored: {found}")
    return Reference(database=database, name=name, files=files, out=out, held=found, steps=steps, seconds=seconds)


def forget(uri: str, name: str) -> None:
    import pymongo

    client: Any = pymongo.MongoClient(uri)
    with client:
        client.drop_database(name)


def blow(reference: Reference, draw: random.Random, mongod: int) -> dict[str, Any]:
    """A plan drawn at random: mostly at a write to the database, of the tool or of the database."""
    plan: dict[str, Any] = {
        "signal": int(draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))), "fresh": False,
    }  # fmt: skip
    if draw.random() < 0.25:
        return plan | {"after": draw.uniform(0.5, 1) * reference.seconds, "whom": "tool"}
    plan |= {
        "process": "tool", "step": "database", "at": draw.randrange(reference.steps), "file": "",
        "when": draw.choice(("before", "after")), "victim": "self",
    }  # fmt: skip
    return plan | {"signal": int(signal.SIGKILL), "victim": mongod} if draw.random() < 0.15 else plan


def cycle(reference: Reference, place: Path, draw: random.Random, blows: int) -> list[str]:
    """Strike the writing `blows` times in a row, let it end, check; where each blow fell, and what it left.

    Raises:
        Broken: a promise that didn't hold, and the plans that broke it.
    """
    database, name = reference.database, reference.name
    forget(database.uri, name)
    fell: list[str] = []
    plans: list[dict[str, Any]] = []
    [(whole, content)] = reference.held.named.items()
    try:
        for _ in range(blows):
            mongod = database.start()
            plans.append(blow(reference, draw, mongod))
            ended = cycles.run(reference.files.command, reference.out, plans[-1], place)
            if plans[-1].get("victim") == mongod and ended.struck:
                database.process and database.process.wait()
            database.start()
            now = held(database.uri, name)
            if ended.struck:
                state = "whole" if whole in now.named else "half" if now.named else "nothing"
                sign = signal.Signals(plans[-1]["signal"]).name + (
                    " of mongod" if "victim" in plans[-1] and plans[-1]["victim"] != "self" else ""
                )
                fell.append(f"{ended.struck}\t{sign}\t{ended.returncode}\t{state}")
            if "Traceback" in ended.stderr and not cycles._too_early(ended.stderr):
                raise cycles.Broken(f"a traceback under {plans[-1]}:\n{ended.stderr[-3000:]}")
            wrong = [
                one
                for one, said in now.named.items()
                if datasets.PARTIAL not in one and (one, said) != (whole, content)
            ]
            if wrong:
                raise cycles.Broken(f"looks whole and isn't: {wrong}")
        last = cycles.run(reference.files.command, reference.out, {"fresh": False}, place)
        cycles.settled(reference.out, reference.files, cycles.whole(reference.out, reference.files), last)
        if (now := held(database.uri, name)) != reference.held:
            raise cycles.Broken(
                f"the database holds {now}, undisturbed {reference.held}; the last run said:\n{last.stderr[-500:]}"
            )
    except cycles.Broken as broken:
        raise cycles.Broken(f"{broken}\nafter {json.dumps(plans)}") from None
    return fell


def prepare_forks() -> None:
    """As `cycles.prepare_forks`, FiftyOne too: it connects when it is first asked for something."""
    cycles.prepare_forks()
    with service.quiet():
        import fiftyone
        import fiftyone.core.odm
        from fiftyone.core.odm import database
    if database._client is not None:
        raise cycles.Broken(f"{fiftyone.__name__} connects when it is imported: its forks would share a connection")


@contextlib.contextmanager
def at_work(place: Path) -> Iterator[tuple[Database, str]]:
    """The database of a harness, which FiftyOne is told of, and the name it uses there."""
    database, name = Database(place / "mongodb"), "struck"
    database.start()
    os.environ |= {"FIFTYONE_DATABASE_URI": database.uri, "FIFTYONE_DATABASE_NAME": name}
    try:
        yield database, name
    finally:
        database.stop()
