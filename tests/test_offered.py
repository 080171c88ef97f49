"""Backends of other packages: the documented one, installed and compared for real; broken ones harm nobody."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from defect_detect import backends
from defect_detect.errors import ConfigError

ROOT = Path(__file__).parents[1]
DOCUMENTED = (ROOT / "docs" / "backends.md").read_text()
WHOLE = """
requires = ()
models = {"x": __import__("defect_detect.backends").backends.Capabilities(family="baseline")}
def train(job, *, train, val, out, watch): ...
def predict(job, checkpoint, data, *, device, batch, watch): ...
"""


def block(language: str, starts: str) -> str:
    """The one fenced block of the page that starts so."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", DOCUMENTED, re.DOTALL) if text.startswith(starts)]
    assert len(found) == 1
    return found[0]


def offer(folder: Path, package: str, entries: dict[str, str], module: str = WHOLE) -> None:
    """A package as pip leaves it: a module called like it, and its metadata."""
    about = folder / f"{package}-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (about / "entry_points.txt").write_text(f"[defect_detect.backends]\n{lines}")
    (folder / f"{package}.py").write_text(module)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has what this one has, and the documented package, by pip."""
    home = tmp_path_factory.mktemp("offered")
    venv.create(home / "env", symlinks=True)
    made = home / "env" / "bin" / "python"
    ours = [sysconfig.get_path("purelib"), str(ROOT)]
    (site_packages,) = (home / "env" / "lib").glob("python3*/site-packages")
    (site_packages / "ours.pth").write_text("".join(f"import site; site.addsitedir({one!r})\n" for one in ours))
    package = home / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(block("toml", "[build-system]"))
    (package / "brightest_place.py").write_text(block("python", '"""The brightest place'))
    pip = [sys.executable, "-m", "pip", "--python", str(made), "install", "-q", "--no-index", "--no-deps",
           "--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check", str(package)]  # fmt: skip
    subprocess.run(pip, check=True, capture_output=True)
    return made


def test_the_documented_backend_is_compared_like_any_other(python: Path, export: Path, tmp_path: Path) -> None:
    (tmp_path / "brightest.yaml").write_text("framework: brightest\nmodel: brightest\nweights: none\nepochs: 1\n")
    out = tmp_path / "out"
    run = subprocess.run(
        [python, "tools/compare.py", str(export), "--out", str(out), "--detectors", str(tmp_path / "brightest.yaml"),
         "configs/baseline/classical.yaml", "--set", "epochs=1", "image_size=96", "--resamples", "100",
         "--no-fiftyone"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    figures = json.loads((out / "comparison.json").read_text())
    assert {one["name"] for one in figures["detectors"]} == {"brightest", "classical"}
    result = json.loads((out / "runs" / "brightest-0" / "result.json").read_text())
    assert result["versions"]["brightest-place"] == "1.0"


def test_the_interpreter_of_its_jobs_must_have_it_too(python: Path, tmp_path: Path) -> None:
    """`ENVS/brightest` without the package: said with what to install there."""
    env = tmp_path / "envs" / "brightest"
    venv.create(env, symlinks=True)
    (place,) = (env / "lib").glob("python3*/site-packages")
    ours = (sysconfig.get_path("purelib"), str(ROOT))
    (place / "ours.pth").write_text("".join(f"import site; site.addsitedir({one!r})\n" for one in ours))
    code = "from defect_detect import runner; runner.check('brightest')"
    run = subprocess.run(
        [python, "-I", "-c", code], env={"DEFECT_DETECT_ENVS": str(env.parent)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert f"FrameworkMissing: brightest: brightest-place not installed in {env / 'bin' / 'python'}" in run.stderr
    assert "-m pip install brightest-place" in run.stderr


def test_looking_for_backends_imports_none(site: Path) -> None:
    offer(site, "offered_broken", {"broken": "offered_broken"}, "raise OSError('no such library')")
    offer(site, "offered_gone", {"gone": "offered_gone"}, "import framework_that_is_not_there")
    assert {*backends.names()} == {*backends.shipped(), "broken", "gone"}
    assert not {"offered_broken", "offered_gone"} & {*sys.modules}
    assert backends.load("classical")
    with pytest.raises(ConfigError, match=r"'broken' of the package offered_broken.*OSError: no such library") as error:
        backends.load("broken")
    assert "Mend or uninstall offered_broken" in str(error.value)
    with pytest.raises(ConfigError, match="framework_that_is_not_there"):
        backends.load("gone")


def test_names_of_this_package_are_its_own_and_names_offered_twice_nobodys(site: Path) -> None:
    offer(site, "offered_thief", {"torchvision": "offered_thief", "Not-A-Name": "offered_thief", "_x": "offered_thief"})
    offer(site, "offered_one", {"twice": "offered_one", "fine": "offered_one"})
    offer(site, "offered_two", {"twice": "offered_two"})
    assert {*backends.names()} == {*backends.shipped(), "fine"}
    assert backends.load("torchvision").__name__ == "defect_detect.backends.torchvision"
    assert backends.load("fine").__name__ == "offered_one"
    assert backends.package("fine") == "offered_one"
    assert backends.package("torchvision") == "defect-detect"
    assert len(backends.ignored()) == 4
    with pytest.raises(ConfigError, match="offered_one and offered_two offer one each"):
        backends.load("twice")
    with pytest.raises(ConfigError, match=r"'torchvision' of offered_thief is ignored"):
        backends.load("unknown")


def test_a_package_met_twice_is_one(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed for editing, one has its metadata in two places."""
    offer(site, "offered_edited", {"edited": "offered_edited"})
    shutil.copytree(site / "offered_edited-1.dist-info", site / "again" / "offered_edited-1.dist-info")
    monkeypatch.syspath_prepend(str(site / "again"))
    assert "edited" in backends.names()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("requires = ()", "requires = 'torch'"), "requires, a tuple"),
        (("models = {", "models = {} and {"), "models, a mapping"),
        (("def train(job, *, train, val, out, watch)", "def train(job)"), "one without train, val, out, watch"),
        (("def predict", "def say"), "predict"),
    ],
)
def test_what_a_backend_lacks_is_said(site: Path, change: tuple[str, str], says: str) -> None:
    name = "offered_lacking_" + re.sub(r"\W", "_", says)
    offer(site, name, {"lacking": name}, WHOLE.replace(*change))
    with pytest.raises(ConfigError, match=says):
        backends.load("lacking")


def test_the_doctor_tells_of_broken_ones(site: Path) -> None:
    from defect_detect.doctor import examine

    offer(site, "offered_ill", {"ill": "offered_ill", "mmdet": "offered_ill"}, "raise OSError('no such library')")
    usable, findings = examine._usable()
    assert usable == [*backends.shipped()]
    assert [(one.where, one.level) for one in findings] == [("backends", "note"), ("ill", "note")]


def test_the_doctor_says_how_to_bring_what_another_packages_backend_lacks(site: Path) -> None:
    from defect_detect.doctor import diagnosis
    from defect_detect.doctor.found import Framework, Interpreter

    offer(site, "offered_needy", {"needy": "offered_needy"})
    absent = Framework(name="needy", status="absent", python="/x/python", own=False, version="", device="", tried=[])
    where = Interpreter(python="/x/python", missing={"needy": ["heavy>=2"]})
    (finding,) = diagnosis.frameworks([absent], {"/x/python": where}, ["needy"])
    assert finding.fix == "/x/python -m pip install 'heavy>=2'"
