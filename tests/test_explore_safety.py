"""Nobody else's data, nobody else's network, and nothing half that looks whole: each told by a process of its own."""

import dataclasses
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from defect_detect.explore import datasets, names
from defect_detect.explore.store import store
from tests import scenes
from tests.explored import another, compared, judged_by, pictures

pytestmark = pytest.mark.fiftyone
ROOT = Path(__file__).parents[1]

EXPORT = """
import sys, time
from pathlib import Path
from defect_detect.explore import datasets, writing
from defect_detect.explore.store import store
from tests.test_explore_safety import comparison
writing.BATCH = 1
truth, judged, compared = comparison(Path(sys.argv[1]))
def progress(done, of):
    print(done, of, flush=True)
    time.sleep(float(sys.argv[3]))
print("stored", store("s", compared, judged, truth, folder=Path(sys.argv[2]), progress=progress), flush=True)
"""


def comparison(root: Path):
    """The same whoever makes it."""
    truth, said = scenes.scene(4, images=8)
    truth = dataclasses.replace(truth, root=root) if root.exists() else pictures(truth, root)
    judged = judged_by(truth, {("a", 0): said, ("b", 0): another(truth, 1)})
    return truth, judged, compared(judged)


def python(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def raw(dataset):
    """What is stored of every sample, but for times and random numbers."""
    passing = ("created_at", "last_modified_at", "_dataset_id", "_rand")
    samples = dataset._sample_collection.find().sort("_id", 1)
    return [{name: value for name, value in one.items() if name not in passing} for one in samples]


def told(capsys, folder: Path, state: str) -> None:
    """`--list` has one line on this folder, which says so."""
    assert runpy.run_path(str(ROOT / "tools" / "explore.py"))["_list"]() == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if str(folder) in line]
    assert line.split("\t")[1] == f"{folder}   {state}".rstrip()


def test_a_killed_export_leaves_nothing_that_looks_whole_and_is_gone_on_with(fiftyone, tmp_path, capsys):
    truth, judged, compared_ = comparison(tmp_path / "p")
    (tmp_path / "run").mkdir()
    folder, name = tmp_path / "run", names.dataset_name(tmp_path / "run")
    with python(EXPORT, tmp_path / "p", folder, 30) as process:
        assert process.stdout.readline() == "1 8\n"
        told(capsys, folder, "(unfinished, being written)")
        process.send_signal(signal.SIGKILL)
    told(capsys, folder, "(unfinished)")
    left = [one for one in fiftyone.list_datasets() if one.startswith(name)]
    assert [one.startswith(f"{name}{datasets.PARTIAL}") for one in left] == [True]
    assert datasets.find(folder) is None
    assert name not in datasets.stored()
    with python(EXPORT, tmp_path / "p", folder, 0) as process:
        said = process.stdout.read().splitlines()
    # What was being written when it was killed may have arrived.
    assert said[0] in ("2 8", "3 8")
    assert said[-2:] == ["8 8", f"stored {name}"]
    told(capsys, folder, "")
    resumed = raw(fiftyone.load_dataset(name))
    datasets.remove(folder)
    assert [one for one in fiftyone.list_datasets() if one.startswith(name)] == []
    assert store("s", compared_, judged, truth, folder=folder) == name
    assert raw(fiftyone.load_dataset(name)) == resumed
    datasets.remove(folder)


@pytest.mark.parametrize("what", ["a view", "a workspace", "a run", "a piece of results", "results"])
def test_what_fiftyone_had_written_half_when_it_was_struck_is_not_left_behind(what, fiftyone, tmp_path, monkeypatch):
    """FiftyOne writes these first, and then that the dataset has them."""
    from fiftyone.core import odm
    from mongoengine.fields import GridFSProxy
    from pymongo.collection import Collection

    truth, judged, compared_ = comparison(tmp_path / "p")
    (tmp_path / "run").mkdir()
    owner, name = {
        "a view": (odm.SavedViewDocument, "save"), "a workspace": (odm.WorkspaceDocument, "save"),
        "a run": (odm.runs.RunDocument, "save"), "a piece of results": (Collection, "insert_many"),
        "results": (GridFSProxy, "put"),
    }[what]  # fmt: skip
    done = getattr(owner, name)

    def struck(self, *arguments, **named):
        told = done(self, *arguments, **named)
        if owner is not Collection or self.name == "fs.chunks":
            raise KeyboardInterrupt
        return told

    connection = odm.get_db_conn()

    def unknown() -> dict[str, int]:
        """How many documents no dataset or run knows."""
        there = list(connection.datasets.find({}))
        known = {
            "views": [one for each in there for one in each.get("saved_views", [])],
            "workspaces": [one for each in there for one in each.get("workspaces", [])],
            "runs": [one for each in there for one in each.get("evaluations", {}).values()],
            "fs.files": [one["results"] for one in connection.runs.find({"results": {"$ne": None}})],
            "fs.chunks": [one["_id"] for one in connection.fs.files.find({})],
        }
        unknown = {}
        for each, ids in known.items():
            field = "files_id" if each == "fs.chunks" else "_id"
            unknown[each] = connection[each].count_documents(
                {field: {"$nin": [getattr(one, "id", one) for one in ids]}}
            )
        return unknown

    before = unknown()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, struck)
        with pytest.raises(KeyboardInterrupt):
            store("s", compared_, judged, truth, folder=tmp_path / "run")
    assert unknown() != before

    with monkeypatch.context() as patched:
        # MongoDB's own note of how many documents there are is wrong after a crash.
        patched.setattr(fiftyone.Dataset, "__len__", lambda _: 0)
        kept = store("s", compared_, judged, truth, folder=tmp_path / "run")
    assert unknown() == before
    assert len(fiftyone.load_dataset(kept)) == len(truth.images)
    datasets.remove(tmp_path / "run")
    assert unknown() == before


def test_two_comparisons_of_one_name_live_side_by_side(fiftyone, tmp_path):
    truth, judged, compared_ = comparison(tmp_path / "p")
    folders = [tmp_path / "monday" / "line4", tmp_path / "tuesday" / "line4"]
    first, second = (store("line4", compared_, judged, truth, folder=folder) for folder in folders)
    assert first != second
    assert {datasets.stored()[first], datasets.stored()[second]} == {str(folder) for folder in folders}
    ids = [set(fiftyone.load_dataset(one).values("id")) for one in (first, second)]
    assert not ids[0] & ids[1]
    loaded = fiftyone.load_dataset(second)
    sample = loaded.first()
    sample.tags.append("mine")
    sample.save()
    assert datasets.remove(folders[0]) == first
    assert not fiftyone.dataset_exists(first)
    loaded.reload()
    assert loaded.count_sample_tags()["mine"] == 1
    assert set(loaded.list_evaluations()) == {"a", "b"}
    assert loaded.load_evaluation_results("a").metrics()["support"] == truth.defects.counts.sum()
    assert datasets.remove(folders[1]) == second


def test_removal_leaves_nothing_in_the_database(fiftyone, tmp_path):
    from fiftyone.core import odm

    truth, judged, compared_ = comparison(tmp_path / "p")
    connection = odm.get_db_conn()

    def stored() -> dict[str, int]:
        return {
            name: connection[name].count_documents({})
            for name in connection.list_collection_names()
            if name.startswith(("samples.", "runs", "views", "workspaces", "fs.", "datasets"))
        }

    before = stored()
    store("s", compared_, judged, truth, folder=tmp_path)
    assert stored() != before
    datasets.remove(tmp_path)
    left = {name: count for name, count in stored().items() if count != before.get(name, 0)}
    assert left == {}


def test_a_mongodb_of_ones_own_is_used(fiftyone, tmp_path):
    from fiftyone.core.service import DatabaseService

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "db").mkdir()
    mongod = subprocess.Popen(
        [DatabaseService.find_mongod(), "--dbpath", tmp_path / "db", "--port", str(port), "--bind_ip", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    try:
        environment = {
            "FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}/",
            "FIFTYONE_DATABASE_NAME": f"own-{uuid.uuid4().hex[:8]}",
            "FIFTYONE_DATABASE_DIR": str(tmp_path / "unused"),
        }
        for _ in range(100):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        with python(EXPORT, tmp_path / "p", tmp_path / "run", 0, **environment) as process:
            said, wrong = process.communicate()
        name = names.dataset_name(tmp_path / "run")
        assert said.splitlines()[-1] == f"stored {name}", wrong
        assert not (tmp_path / "unused").exists()
        assert name not in datasets.stored()
        tell = "import json; from defect_detect.explore import datasets; print(json.dumps(datasets.stored()))"
        with python(tell, **environment) as process:
            assert json.loads(process.communicate()[0]) == {name: str(tmp_path / "run")}
    finally:
        mongod.terminate()
        mongod.wait(30)


SERVE = """
import sys, time
from defect_detect.explore import app
with app.serving(sys.argv[1], port=int(sys.argv[2])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_the_app_listens_on_loopback_whatever_fiftyone_is_told(fiftyone, tmp_path):
    """In a container FiftyOne's own default address is 0.0.0.0."""
    import psutil

    mine = fiftyone.Dataset(f"mine-{uuid.uuid4().hex[:8]}", persistent=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, mine.name, str(port)]
    environment = os.environ | {"FIFTYONE_DEFAULT_APP_ADDRESS": "0.0.0.0"}  # noqa: S104 - what must not win
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == f"http://127.0.0.1:{port}/datasets/{mine.name}\n"
        listening = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
        process.stdin.close()
    assert listening == {"127.0.0.1"}
    mine.delete()
