"""What the doctor says of a machine, and what a comparison asks before it spends hours."""

import functools
import io
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from defect_detect import config, job, runner, space
from defect_detect.doctor import before, diagnosis, examine, machine, table, trying
from defect_detect.doctor.found import (
    Database,
    Finding,
    Framework,
    Gpu,
    Interpreter,
    Machine,
    Report,
    Torch,
)
from defect_detect.doctor.trying import Tried
from defect_detect.errors import ConfigError, FrameworkMissing

ROOT = Path(__file__).parents[1]
MACHINE = Machine(
    system="Linux", cpus=4, cpus_in_all=16, memory=64 * 10**9, memory_free=30 * 10**9, limited=True,
    disks={"working directory": 10**12, "cache": 10**12, "temporary": 2 * 10**9},
)  # fmt: skip
HERE = "/home/somebody/projects/inspection/.venv/bin/python"
THERE = "/home/somebody/.local/share/defect-detect/envs/mmdet/bin/python"


def tool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "tools/doctor.py", *arguments], capture_output=True, text=True, cwd=ROOT,
                          check=False, timeout=300, env={**os.environ, **environment})  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trying.pictures(tmp_path_factory.mktemp("pictures"))


def test_a_framework_is_tried_through_its_own_worker(pictures: Path, tmp_path: Path) -> None:
    tried = trying.attempt("classical", "threshold", pictures, tmp_path / "run")

    assert tried.faults() == {}
    assert tried.seconds > 0
    assert (tmp_path / "run" / "predictions" / "test" / "manifest.json").exists()


def test_what_fails_is_said_and_what_follows_from_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "_OPTIONS", {("classical", "threshold"): {"sigmo": 1}})

    tried = trying.attempt("classical", "threshold", pictures, tmp_path / "run")

    assert "sigmo" in tried.training
    assert tried.prediction == "not tried: it takes a training first"


def test_a_trial_that_hangs_is_ended(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "_OPTIONS", {("classical", "threshold"): {"sleep": 60}})

    tried = trying.attempt("classical", "threshold", pictures, tmp_path / "run", limit=2)

    assert tried.training == "took longer than 2 s and was ended"


def test_the_smallest_models_are_tried_with_masks_where_there_are_any() -> None:
    assert trying.models("torchvision") == ("ssdlite320_mobilenet_v3", "mask_rcnn_r18_fpn")
    assert trying.models("ultralytics") == ("yolo11n",)
    assert trying.models("classical") == ("threshold",)
    assert "mask_rcnn_r50_fpn" in trying.models("mmdet")


def test_the_tool_says_what_works_as_a_table_and_as_json() -> None:
    shown = tool("classical")
    assert shown.returncode == 0, shown.stderr
    assert "Works: classical" in shown.stdout
    assert "looking at classical: a training and a prediction with threshold" in shown.stderr

    said = tool("classical", "--quick", "--json")
    report = msgspec.json.decode(said.stdout, type=Report)
    assert (report.ok, said.returncode) == (True, 0)
    assert report.frameworks[0].status == "installed"
    assert report.machine.cpus >= 1
    assert report.database is None


def test_a_framework_that_was_asked_for_and_is_not_there_is_exit_code_1(tmp_path: Path) -> None:
    bare = tmp_path / "envs" / "ultralytics"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)

    said = tool("ultralytics", "--quick", DEFECT_DETECT_ENVS=str(tmp_path / "envs"))

    assert said.returncode == 1
    assert "No module named" in said.stdout
    assert "python tools/make_env.py ultralytics --fresh" in said.stdout
    assert tool("ultralitics").returncode == 2


def report(**changes: object) -> Report:
    parts: dict[str, object] = {
        "ok": False, "asked": [], "machine": MACHINE,
        "frameworks": [
            Framework(name="mmdet", status="broken", python=THERE, own=True, version="3.3.0",
                      device="cuda:0 NVIDIA H200",
                      tried=[Tried(model="ssdlite320", device="auto", seconds=12.0),
                             Tried(model="mask_rcnn_r50_fpn", device="auto", prediction="CUDA out of memory",
                                   masks="not tried: it takes a prediction first", seconds=30.0)]),
            Framework(name="torchvision", status="works", python=HERE, own=False, version="0.27.1", device="CPU",
                      tried=[Tried(model="mask_rcnn_r18_fpn", device="auto", masks="", seconds=9.5)]),
            Framework(name="detectron2", status="absent", python=HERE, own=False),
        ],
        "interpreters": [
            Interpreter(python=HERE, version="3.11.7", missing={"torchvision": [], "detectron2": ["detectron2>=0.6"]},
                        opencv={"opencv-python": "4.14.0.94", "opencv-python-headless": "4.9.0.80"},
                        torch=Torch(version="2.12.1+cpu")),
            Interpreter(python=THERE, version="3.11.7", missing={"mmdet": []},
                        untested={"numpy": "2.5.0, tested 2.4.6"},
                        torch=Torch(version="2.12.1+cu130", cuda="13.0",
                                    gpus=[Gpu(name="NVIDIA H200", memory=150 * 10**9, free=10**11)])),
        ],
        "database": Database(status="broken", fiftyone="1.22.1", error="no MongoDB answers"), "findings": [],
    }  # fmt: skip
    parts |= changes
    made = Report(**parts)  # type: ignore[arg-type]
    probed = {one.python: one for one in made.interpreters}
    findings = [
        *diagnosis.frameworks(made.frameworks, probed, made.asked), *diagnosis.interpreters(made.interpreters),
        *diagnosis.computer(made.machine, made.interpreters), *diagnosis.service(made.database),
    ]  # fmt: skip
    return msgspec.structs.replace(made, findings=findings)


def found(of: Report, where: str) -> tuple[str, str, str]:
    one = next(one for one in of.findings if one.where.startswith(where))
    return one.level, one.what, one.fix


def test_every_trouble_has_what_mends_it() -> None:
    said = report()

    level, what, fix = found(said, "mmdet mask_rcnn_r50_fpn: prediction")
    assert (level, what) == ("fault", "CUDA out of memory")
    assert "--device cpu" in fix
    assert not any("not tried" in one.what for one in said.findings)
    level, what, fix = found(said, "detectron2")
    assert (level, fix) == ("note", "python tools/make_env.py detectron2")
    assert found(report(asked=["detectron2"]), "detectron2")[0] == "fault"
    level, what, fix = found(said, HERE)
    assert level == "fault"
    assert "write the same files" in what
    assert fix.endswith("opencv-python==4.14.0.94 opencv-python-headless==4.14.0.94")
    assert found(said, THERE)[:2] == ("note", "not the versions that were tested together: numpy 2.5.0, tested 2.4.6")
    assert found(said, "the temporary disk")[1] == "2.0 GB free"
    assert found(said, "FiftyOne")[0] == "fault"


def test_an_environment_with_another_version_of_this_package_is_a_fault() -> None:
    old = Interpreter(python=THERE, versions={"mmdet": {"defect-detect": "0.0.9"}})
    said = report(frameworks=[Framework(name="mmdet", status="installed", python=THERE, own=True)], interpreters=[old])

    level, what, fix = found(said, "mmdet")
    assert level == "fault"
    assert "has defect_detect 0.0.9" in what
    assert fix == "python tools/make_env.py mmdet --fresh"


def test_a_gpu_that_no_torch_can_use_is_told_with_both_versions() -> None:
    with_gpu = msgspec.structs.replace(
        MACHINE, driver="470.1", gpus=[Gpu(name="Tesla T4", memory=16 << 30, free=1 << 30)]
    )
    blind = [Interpreter(python=HERE, torch=Torch(version="2.12.1+cu130", cuda="13.0"))]

    level, what, _ = found(report(machine=with_gpu, interpreters=blind, frameworks=[], database=None), "Tesla T4")

    assert level == "fault"
    assert what == "no torch can use it: torch 2.12.1+cu130 (CUDA 13.0), driver 470.1"


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_the_terminal_and_names_everything(columns: int) -> None:
    console = Console(width=columns, record=True, file=io.StringIO(), force_terminal=False)

    table.show(report(), console)

    text = console.export_text()
    commands = ("     ",)  # not wrapped, so that they can be copied
    assert max(len(line.rstrip()) for line in text.splitlines() if not line.startswith(commands)) <= columns
    rows = {line.split()[0]: line for line in reversed(text.splitlines()) if line.strip()}
    assert rows["torchvision"].split()[-4:] == ["yes", "yes", "yes", "10"]
    assert rows["mmdet"].split()[-4:] == ["yes", "no", "-", "42"] or columns == 80
    assert "absent" in rows["detectron2"]
    for part in ("4 of 16", "limit of the container", "To be mended", "Worth knowing", "none that nvidia-smi knows"):
        assert part in text


def test_a_container_s_limits_are_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (
        ("memory.max", "2000000000\n"),
        ("memory.current", "500000000\n"),
        ("cpu.max", "150000 100000\n"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "_group", lambda: tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(64)))

    seen = machine.look(tmp_path / "not" / "there")

    assert (seen.memory, seen.limited) == (2 * 10**9, True)
    assert seen.memory_free <= 15 * 10**8
    assert seen.cpus == 2
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    seen = machine.look(tmp_path)
    assert not seen.limited
    assert seen.cpus == 64


def test_gpus_are_those_that_nvidia_smi_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho '580.65.06, NVIDIA H200, 143771, 143000'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert machine.look(tmp_path).driver == "580.65.06"
    assert machine.look(tmp_path).gpus == [Gpu(name="NVIDIA H200", memory=143771 << 20, free=143000 << 20)]
    fake.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert machine.look(tmp_path).gpus == []


def test_interpreters_are_asked_once_for_all_their_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    real = runner.ask

    def ask(python: Path, *arguments: str, limit: float | None = None) -> dict[str, object]:
        asked.append(arguments)
        return real(python, *arguments, limit=limit)

    monkeypatch.setattr(runner, "ask", ask)

    made = examine.examine(["classical", "torchvision"], quick=True, say=lambda _: None)

    assert len(asked) == 1
    assert [one.name for one in made.frameworks] == ["classical", "torchvision"]
    assert made.interpreters[0].python == sys.executable
    with pytest.raises(ConfigError, match="torchvision"):
        examine.examine(["torchvison"], quick=True, say=lambda _: None)


def configs(**settings: object) -> list[config.DetectorConfig]:
    texts = [f"{key}={value}" for key, value in settings.items()]
    names = ("yolo/yolo26n_light.yaml", "maskrcnn/mmdet_mask_rcnn_r50_fpn.yaml")
    return [config.read(ROOT / "configs" / name, texts) for name in names]


@pytest.fixture
def all_there(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(runner, "check", lambda _: None)
    monkeypatch.setattr(runner, "ask", lambda *_, **__: {"torch": {"gpus": []}})
    return monkeypatch


def test_all_that_would_end_a_comparison_later_is_said_at_once(tmp_path: Path, all_there: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    def check(framework: str) -> None:
        if framework == "mmdet":
            raise FrameworkMissing("mmdet: not installed")

    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    all_there.setattr(runner, "check", check)
    all_there.setattr(space.shutil, "disk_usage", lambda _: usage(10**8, 0, 10**7))

    with pytest.raises(ConfigError) as told:
        before.check(configs(device="cuda:1", weights="/nowhere.pt"), tmp_path / "out", [0], jobs=1)

    said = [str(fault) for fault in told.value.faults]
    assert said[0] == "mmdet: not installed"
    assert sum("/nowhere.pt" in one for one in said) == 2
    # What isn't installed can't be asked for its GPUs.
    assert [one.partition(":")[0] for one in said if "cuda:1" in one] == ["device of yolo26n_light"]
    assert "10 MB free" in said[-1]
    assert len(said) == 5


def test_nothing_is_asked_of_what_is_in_order(tmp_path: Path, all_there: pytest.MonkeyPatch) -> None:
    before.check(configs(), tmp_path / "out", [0], jobs=1)
    before.check([], tmp_path / "out", [0], jobs=1)
    all_there.setattr(runner, "ask", lambda *_, **__: {"torch": {"gpus": [{}, {}]}})
    before.check(configs(device="cuda:1"), tmp_path / "out", [0], jobs=1)
    with pytest.raises(ConfigError, match="cuda:2"):
        before.check(configs(device="cuda:2"), tmp_path / "out", [0], jobs=1)


def test_only_frameworks_missing_is_an_error_of_its_own(tmp_path: Path, all_there: pytest.MonkeyPatch) -> None:
    def check(framework: str) -> None:
        raise FrameworkMissing(f"{framework}: not installed")

    all_there.setattr(runner, "check", check)

    with pytest.raises(FrameworkMissing, match=r"mmdet: not installed\nultralytics: not installed"):
        before.check(configs(), tmp_path / "out", [0], jobs=1)


def test_pretrained_weights_are_brought_before_the_first_training_and_all_that_are_missing_are_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def ask(_: Path, *arguments: str, limit: float | None = None) -> dict[str, object]:
        asked.append(arguments)
        return {"faults": ["none such"]}

    monkeypatch.setattr(runner, "ask", ask)
    fetch = functools.partial(before.fetch, seeds=[0], root=tiny, out=tmp_path, console=Console(file=io.StringIO()))

    with pytest.raises(FrameworkMissing) as told:
        fetch(configs(weights="pretrained"))
    assert told.value.faults == ("yolo26n_light: none such", "mmdet_mask_rcnn_r50_fpn: none such")
    assert {arguments[-1] for arguments in asked} == {"yes"}
    assert [job.decode_job(arguments[-2].encode()).framework for arguments in asked] == ["ultralytics", "mmdet"]  # type: ignore[union-attr]

    asked.clear()
    fetch(configs(weights="none"))
    home = tmp_path / "runs" / "yolo26n_light-0"
    home.mkdir(parents=True)
    (home / "result.json").touch()
    monkeypatch.setattr(runner, "ask", lambda *_, **__: {"faults": []})
    fetch(configs(weights="pretrained"))
    assert not asked


def fetching(framework: str, model: str, **environment: str) -> dict[str, list[str]]:
    wanted = job.TrainJob(detector="d", framework=framework, model=model, dataset="", seed=0, settings=job.Settings())
    command = [sys.executable, "-I", "-m", "defect_detect.doctor.fetching", job.encode(wanted).decode(), "yes"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return msgspec.json.decode(said.stdout, type=dict[str, list[str]])


def test_a_backend_without_weights_to_fetch_lacks_none() -> None:
    assert fetching("classical", "threshold") == {"faults": []}


@pytest.mark.framework
def test_weights_out_of_reach_are_told_by_the_interpreter_that_would_train(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    nowhere = {"TORCH_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}

    (said,) = fetching("torchvision", "ssdlite320_mobilenet_v3", **nowhere)["faults"]

    assert "--set weights=none" in said
    assert list(tmp_path.rglob("*.pth")) == []


def test_the_json_form_is_the_one_that_is_documented() -> None:
    text = (ROOT / "docs" / "environments.md").read_text()
    kinds = (Report, Framework, Machine, Tried, Interpreter, Torch, Gpu, Database, Finding)
    for kind in kinds:
        for field in msgspec.structs.fields(kind):
            assert f"`{field.encode_name}`" in text, f"{kind.__name__}.{field.encode_name}"
