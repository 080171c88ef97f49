"""Environments made of small packages of our own: the same steps, processes and files, without a network."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from defect_detect import backends, runner
from defect_detect.backends import classical
from defect_detect.doctor import trying
from defect_detect.doctor.trying import Tried
from defect_detect.environments import (
    asked,
    commands,
    installing,
    making,
    package,
    recipes,
    room,
    sources,
    wheels,
    workshop,
)
from defect_detect.errors import ConfigError, FrameworkMissing, RunFailed

ROOT = Path(__file__).parents[1]
TOY = "toy-framework"


def toy_wheel(folder: Path, version: str = "1.0") -> None:
    """A framework without code. Its path file leads to what is installed here, which stands in for the core's needs."""
    folder.mkdir(exist_ok=True)
    name = f"toy_framework-{version}"
    files = {
        "toy_framework.py": f"__version__ = {version!r}\n",
        "toy_framework.pth": sysconfig.get_path("purelib") + "\n",
        f"{name}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {TOY}\nVersion: {version}\n",
        f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(record, "".join(f"{path},,\n" for path in (*files, record)))


def create_quickly(self: installing.Installer, python: Path, made: Path, **_: object) -> None:
    """An environment that borrows pip from here: bringing its own takes seconds."""
    subprocess.run([python, "-I", "-m", "venv", "--without-pip", made], check=True)
    site_packages = made / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site_packages / "pip.pth").write_text(sysconfig.get_path("purelib") + "\n")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, and the classical baseline as a framework that wants one of them."""
    toy_wheel(tmp_path / "house")
    monkeypatch.setattr(classical, "requires", (f"{TOY}>=1",))
    monkeypatch.setattr(package, "requirements", tuple)
    monkeypatch.setattr(installing.Installer, "create", create_quickly)
    return tmp_path / "house"


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> list[Tried]:
    """What the trial is to say, in place of a real one."""
    said = [Tried(model="threshold", device="auto")]
    monkeypatch.setattr(trying, "pictures", lambda folder: folder)
    monkeypatch.setattr(trying, "attempt", lambda *_, **__: said[0])
    return said


def order(house: Path, envs: Path, **changes: object) -> making.Order:
    installer = installing.Installer(wheels=house, constraints=changes.pop("constraints", None))  # type: ignore[arg-type]
    return making.Order(frameworks=("classical",), envs=envs, installer=installer, **changes)  # type: ignore[arg-type]


def make(wanted: making.Order) -> tuple[Path, str]:
    """The environment, and what was said."""
    console = Console(record=True, width=200, file=io.StringIO())
    return making.make(wanted, console), console.export_text()


def test_an_environment_is_made_tried_found_and_kept(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = tmp_path / "envs"
    monkeypatch.setenv("DEFECT_DETECT_ENVS", str(envs))

    made, said = make(order(house, envs))

    assert runner.python_of("classical") == envs / "classical" / "bin" / "python"
    assert (envs / "classical").readlink() == Path(".classical/1")
    runner.check("classical")
    record = json.loads((made / "made.json").read_text())
    assert record["stage"] == "tried"
    assert re.search(r"4/4 trying it.*done in", said)
    # The package there is the one that runs here, and pip knows it.
    code = "import defect_detect; print(defect_detect.__file__)"
    where = subprocess.run([envs / "classical/bin/python", "-I", "-c", code], capture_output=True, text=True,
                           check=True).stdout.strip()  # fmt: skip
    assert Path(where).resolve() == ROOT / "defect_detect" / "__init__.py"
    listed = subprocess.run([made / "bin/python", "-I", "-m", "pip", "list", "--local", "--format=freeze"],
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "toy-framework==1.0" in listed
    assert "defect-detect==" in listed.replace("_", "-")

    # The same order again: kept. Another one: made beside it, then put in its place, and the old one goes.
    again, said = make(order(house, envs))
    assert again == made
    assert "kept" in said
    monkeypatch.setattr(classical, "requires", (f"{TOY}>=1.0",))
    other, _ = make(order(house, envs))
    assert other.name == "2"
    assert (envs / "classical").resolve() == other.resolve()
    assert not made.exists()


DRIVER = """
import sys, time
from pathlib import Path
from rich.console import Console
from defect_detect.backends import classical
from defect_detect.doctor import trying
from defect_detect.environments import installing, making, package
envs, house, slow = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
classical.requires = ("toy-framework>=1",)
package.requirements = tuple
sys.path.insert(0, "")
from tests.test_make_env import create_quickly
installing.Installer.create = create_quickly
if slow == "installing":
    before = installing.Installer.install
    def install(self, *arguments, **named):
        before(self, *arguments, **named)
        print("now", flush=True)
        time.sleep(60)
    installing.Installer.install = install
if slow == "trying":
    def attempt(*arguments, **named):
        print("now", flush=True)
        time.sleep(60)
    trying.attempt = attempt
from defect_detect import options
options.ended(lambda: making.make(making.Order(frameworks=("classical",), envs=envs,
    installer=installing.Installer(wheels=house)), Console(stderr=True)) and 0)
"""


@pytest.mark.parametrize(("at", "signum"), [("installing", signal.SIGKILL), ("trying", signal.SIGKILL),
                                            ("trying", signal.SIGINT)])  # fmt: skip
def test_one_that_was_killed_is_never_found_and_is_taken_up_or_made_anew(
    at: str, signum: signal.Signals, house: Path, trial: list[Tried], tmp_path: Path
) -> None:
    envs = tmp_path / "envs"
    running = subprocess.Popen([sys.executable, "-c", DRIVER, envs, house, at], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd=ROOT)  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "now\n"
    running.send_signal(signum)
    said = running.communicate(timeout=60)[1]
    assert "Traceback" not in said
    assert not (envs / "classical").exists()
    (envs / ".classical" / "1" / "mark").touch()

    made, said = make(order(house, envs))

    assert made.name == "1"
    assert (made / "mark").exists() == (at == "trying")
    assert ("1/4 making an environment" in said) == (at == "installing")
    assert (envs / "classical").resolve() == made.resolve()


def test_an_empty_environment_brings_its_own_pip(tmp_path: Path) -> None:
    installing.Installer().create(Path(sys.executable), tmp_path / "made", log=tmp_path / "log", say=lambda _: None)

    asked_for = [tmp_path / "made" / "bin" / "python", "-I", "-m", "pip", "--version"]
    assert str(tmp_path) in subprocess.run(asked_for, capture_output=True, text=True, check=True).stdout


def test_two_at_once_are_not_let_in(house: Path, tmp_path: Path) -> None:
    envs = tmp_path / "envs"
    with (
        workshop.opened(envs, ("classical",)),
        pytest.raises(ConfigError, match=r"writing there since .*Wait until it is done"),
    ):
        make(order(house, envs))


def test_one_that_fails_its_trial_is_not_used(house: Path, trial: list[Tried], tmp_path: Path) -> None:
    envs = tmp_path / "envs"
    first, _ = make(order(house, envs))
    trial[0] = Tried(model="threshold", device="auto", training="libGL.so.1 is missing")

    with pytest.raises(RunFailed, match=r"isn't used:\nclassical threshold, training: libGL.so.1 is missing"):
        make(order(house, envs, fresh=True))
    assert (envs / "classical").resolve() == first.resolve()

    # It was made all the same, to be looked into.
    assert [path.name for path in workshop.Workshop(envs, ("classical",)).generations()] == ["1", "2"]


def test_a_folder_that_was_made_otherwise_is_left_alone(house: Path, tmp_path: Path) -> None:
    (tmp_path / "envs" / "classical" / "bin").mkdir(parents=True)

    with pytest.raises(ConfigError, match="did not make"):
        make(order(house, tmp_path / "envs"))


def test_no_room_is_said_before_anything_is_downloaded(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(10**10, 0, 3 * 10**9))
    recipe = recipes.recipe(["torchvision"], compiled=False)

    with pytest.raises(ConfigError, match=r"expected \d+ GB free, found 3.0 GB"):
        room.check(recipe, tmp_path / "envs" / "not" / "there", downloads=True)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(10**12, 0, 10**11))
    room.check(recipe, tmp_path / "envs", downloads=True)


def test_a_registry_that_cannot_be_reached_is_said_with_the_ways_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("PIP_RETRIES", "1"),
                        ("PIP_CONFIG_FILE", os.devnull), ("PIP_FIND_LINKS", "")):  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(FrameworkMissing) as told:
        installing.Installer().install(
            Path(sys.prefix), ["no-such-package-at-all"], what="installing", log=tmp_path / "log", say=lambda _: None
        )
    for way in ("can't be reached", "HTTPS_PROXY", "PIP_INDEX_URL", "--wheels DIR"):
        assert way in str(told.value)


def test_wheels_that_are_not_in_the_folder_are_named(house: Path, tmp_path: Path) -> None:
    with pytest.raises(FrameworkMissing, match=r"house has no version that suits[\s\S]*no-such-package-at-all"):
        installing.Installer(wheels=house).install(
            Path(sys.prefix), ["no-such-package-at-all"], what="installing", log=tmp_path / "log", say=lambda _: None
        )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        # Of real logs: setup.py's own output, and the same through pip, which indents it.
        ("[17/77] c++ -MMD -MF build/temp/mmcv/ops/csrc/pytorch/contour_expand.o.d -Wsign-compare", "17 of 77 files"),
        ("  [3/5] c++ -MMD -MF build/temp/detectron2/layers/csrc/cocoeval/cocoeval.o.d", "3 of 5 files"),
        ("  Downloading torch-2.12.1-cp311-cp311-manylinux_2_28_x86_64.whl (900 MB)",
         "Downloading torch-2.12.1-cp311-cp311-manylinux_2_28_x86_64.whl (900 MB)"),
        ("Collecting mmdet<3.4,>=3.3", "Collecting mmdet<3.4,>=3.3"),
        ("Resolved 49 packages in 1.02s", "Resolved 49 packages in 1.02s"),
        ("In file included from [1/2] nowhere", None),
        ("copying mmcv/version.py -> build/lib.linux-x86_64-cpython-311/mmcv", None),
    ],
)  # fmt: skip
def test_what_is_said_of_progress(line: str, shown: str | None) -> None:
    assert commands.progress(line) == shown


def test_a_program_ends_with_all_that_it_started(tmp_path: Path) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    script = "sleep 60 & echo $! > pid; echo '[1/2] c++'; wait"
    with pytest.raises(KeyboardInterrupt):
        commands.run(["sh", "-c", script], what="compiling", log=tmp_path / "log", say=stop, folder=tmp_path)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and Path(f"/proc/{child}").exists():
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{child}").exists()
    assert "[1/2] c++" in (tmp_path / "log").read_text()


SETUP = """
from setuptools import setup
print("[1/2] c++ one.o", flush=True)
print("[2/2] c++ two.o", flush=True)
setup(name="detectron2", version="0.6", py_modules=["detectron2_toy"])
"""


@pytest.fixture
def compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Compiles a project against a torch that is only told of; gives the wheel and the lines said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    facts = {"torch": "", "cuda": None, "gpu": False, "python": "cpython-311", "platform": "linux", "abi": 1}
    monkeypatch.setattr(wheels, "_facts", lambda *_, **__: facts)
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    made = workplace / "1"
    made.symlink_to(sys.prefix)

    def run(source: Path, torch: str = "2.12.1+cpu") -> tuple[Path, str, list[str]]:
        facts["torch"] = torch
        said: list[str] = []
        wanted = recipes.Compiled(project="detectron2")
        wheel, where = wheels.wheel(
            wanted, wheels.Build(source=str(source), jobs=1), made, installing.Installer(), log=tmp_path / "log",
            say=said.append,
        )  # fmt: skip
        return wheel, where, [line for line in said if "files" in line]

    return run


def test_what_is_compiled_is_compiled_once_and_never_in_the_users_folder(tmp_path: Path, compiling) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(SETUP)
    (source / "detectron2_toy.py").touch()
    before = sorted(source.rglob("*"))

    wheel, where, said = compiling(source)

    assert said[-2:] == ["1 of 2 files", "2 of 2 files"]
    assert wheel.name == "detectron2-0.6-py3-none-any.whl"
    assert str(source) in where
    assert sorted(source.rglob("*")) == before
    assert not (wheel.parent / "work").exists()
    assert compiling(source) == (wheel, where, [])
    # Another torch, or another content, is another wheel.
    assert compiling(source, torch="2.13.0+cpu")[2] == said
    (source / "detectron2_toy.py").write_text("VERSION = 2\n")
    assert compiling(source)[2] == said


def test_a_compilation_that_failed_goes_on_from_what_is_there(tmp_path: Path, compiling) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(
        "import pathlib\nmark = pathlib.Path('build') / 'half'\n"
        "if not mark.exists():\n    mark.parent.mkdir(exist_ok=True)\n    mark.touch()\n"
        "    raise SystemExit('killed')\n" + SETUP
    )
    (source / "detectron2_toy.py").touch()

    with pytest.raises(RunFailed, match=r"compiling detectron2 failed[\s\S]*killed[\s\S]*All of it"):
        compiling(source)
    assert compiling(source)[0].is_file()


def test_a_source_is_told_by_its_content_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "pack").mkdir(parents=True)
        (folder / "setup.py").write_text("setup")
        (folder / "pack" / "code.py").write_text("code")
    (two / "build").mkdir()
    (two / "build" / "object.o").write_text("made")
    (two / "pack" / "_C.so").write_text("made")
    assert sources.digest(one) == sources.digest(two)

    (two / "pack" / "code.py").write_text("other")
    assert sources.digest(one) != sources.digest(two)


@pytest.mark.parametrize(
    ("source", "says"),
    [("/nowhere/at/all", "a folder, an archive or a git URL"), ("{empty}", "no setup.py"), ("detectron2", "git clone")],
)
def test_a_source_that_is_none_is_refused(source: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError, match=says):
        sources.bring(
            source.format(empty=tmp_path / "empty"), tmp_path / "to", log=tmp_path / "log", say=lambda _: None
        )


def test_a_repository_is_cloned_and_one_out_of_reach_says_how_to_do_without(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "setup.py").touch()
    git = ["git", "-C", str(repository), "-c", "user.name=n", "-c", "user.email=e@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    log = tmp_path / "log"

    for number, at in enumerate(("", "@v1")):
        root = sources.bring(f"git+file://{repository}{at}", tmp_path / f"to{number}", log=log, say=lambda _: None)
        assert (root / "setup.py").exists()
    with pytest.raises(FrameworkMissing, match="--source DIR"):
        sources.bring("http://127.0.0.1:9/detectron2.git", tmp_path / "to", log=log, say=lambda _: None)


def test_every_framework_has_a_recipe_that_its_backend_is_content_with() -> None:
    for name in backends.names():
        made = recipes.recipe([name], compiled=False)
        got = {recipes.project(one) for one in (*made.requirements, *(one.project for one in made.compiled))}
        assert {recipes.project(one) for one in backends.load(name).requires} <= got
        assert "numpy" in got
    assert "mmcv-lite" in str(recipes.recipe(["mmdet"], compiled=False).requirements)
    compiled = recipes.recipe(["mmdet"], compiled=True)
    assert [one.project for one in compiled.compiled] == ["mmcv"]
    assert "mmcv-lite" not in str(compiled.requirements)
    assert "setuptools>=77,<81" in compiled.requirements


def test_the_package_brings_the_constraints_along() -> None:
    assert recipes.CONSTRAINTS.read_bytes() == (ROOT / "constraints.txt").read_bytes()


def test_a_package_that_offers_a_backend_comes_along(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "offering.py": "from defect_detect.backends.classical import models, predict, train\n"
        "requires = ('toy-framework',)\n",
        "offering-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: offering\nVersion: 2.0\n"
        "Requires-Dist: defect-detect\nRequires-Dist: toy-framework>=1\n",
        "offering-2.0.dist-info/entry_points.txt": "[defect_detect.backends]\nthreshold = offering\n",
    }
    for name, text in files.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(text)
    (tmp_path / "site" / "offering-2.0.dist-info" / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert package.offering("threshold") == ("toy-framework>=1",)
    installer = installing.Installer(wheels=house)

    made, _ = make(making.Order(frameworks=("threshold",), envs=tmp_path / "envs", installer=installer))

    assert json.loads((made / "made.json").read_text())["stage"] == "tried"
    assert list(made.rglob("offering.py"))


def test_an_installed_package_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_wheel(tmp_path / "house")
    with zipfile.ZipFile(next((tmp_path / "house").iterdir())) as archive:
        archive.extractall(tmp_path / "installed")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.setattr(package, "_NAME", TOY)
    monkeypatch.setattr(package, "_package", lambda: tmp_path / "installed" / "toy_framework")

    package.put(tmp_path / "there", [])
    assert (tmp_path / "there" / "toy_framework.py").read_text() == "__version__ = '1.0'\n"


def refused(*arguments: str) -> str:
    run = subprocess.run([sys.executable, "tools/make_env.py", *arguments], capture_output=True, text=True, cwd=ROOT,
                         check=False, timeout=120)  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mdet"], ["Did you mean 'mmdet'?"]),
        (["classical"], ["runs anywhere"]),
        (["ultralytics", "--compile", "--source", "x", "--together", "--jobs", "0", "--wheels", "/nowhere"],
         ["--compile", "--source", "--together", "--jobs", "--wheels"]),
        (["mmdet", "--python", "/bin/false"], ["Python 3.11 or later"]),
    ],
)  # fmt: skip
def test_a_users_mistake_is_a_sentence_and_all_are_said(arguments: list[str], says: list[str], tmp_path: Path) -> None:
    said = refused(*arguments, "--envs", str(tmp_path / "envs"))

    assert all(one in said for one in says)
    assert not (tmp_path / "envs").exists()


def test_one_that_fails_does_not_keep_the_others_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def fake(wanted: making.Order, console: Console) -> Path:
        begun.extend(wanted.frameworks)
        if wanted.frameworks == ("mmdet",):
            raise RunFailed("no luck")
        return tmp_path

    monkeypatch.setattr(making, "make", fake)
    console = Console(record=True, width=200, file=io.StringIO())

    assert asked.run(["torchvision", "mmdet"], envs=tmp_path, console=console) == 1
    assert begun == ["mmdet", "torchvision"]
    said = console.export_text()
    assert "mmdet: no luck" in said
    assert "torchvision: ready in" in said
    assert f"export DEFECT_DETECT_ENVS={tmp_path}" in said
    begun.clear()
    assert asked.run(["all"], envs=tmp_path, console=console) == 1
    assert "classical" not in begun
    assert {"mmdet", "torchvision", "ultralytics"} <= set(begun)


def test_a_failure_is_told_by_its_errors_not_by_pips_frame_around_them() -> None:
    said = [
        "  [3/5] c++ one.cpp",
        "  FAILED: one.o",
        "  one.cpp:7:10: fatal error: missing.h: No such file or directory",
        *(f'    File "setup.py", line {number}' for number in range(30)),
        "  RuntimeError: Error compiling objects for extension",
        "  error: subprocess-exited-with-error",
        "  \u00d7 Building wheel for detectron2 (pyproject.toml) did not run successfully.",
        "  \u2570\u2500> See above for output.",
        "  note: This error originates from a subprocess, and is likely not a problem with pip.",
        "  cwd: /somewhere",
        "ERROR: Failed building wheel for detectron2",
    ]

    told = commands.telling(said)

    assert told[0].strip() == "FAILED: one.o" or "missing.h" in told[0]
    assert any("missing.h" in line for line in told)
    assert told[-1] == "ERROR: Failed building wheel for detectron2"
    assert told[-2].strip() == "RuntimeError: Error compiling objects for extension"
    assert len(told) <= 12
