"""Input that somebody made to do harm: nothing of it runs, escapes, loads or hides."""

from __future__ import annotations

import csv
import http.server
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from defect_detect import job, runner
from defect_detect.data import coco, predictions, safe_yaml
from defect_detect.data.files import sha256_file
from defect_detect.errors import ConfigError
from defect_detect.tables import Predictions

ROOT = Path(__file__).parents[1]
EVIL = "<img src=x onerror=document.title='pwned'>"
CLASSES = [
    "<script>document.title='pwned'</script>",
    "=1+1",
    "[red]r[/red]",
    "[/]",
    "'\"><svg onload=alert(1)>",
    "{{7*7}}",
]
FILES = ["=cmd|' C'!A0.png", "@x.png", "+1.png", "-1.png", "<b>&amp;.png", "[bold]x[_bold].png", "' onload='x.png"]
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def tool(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300, env=os.environ | environment
    )


@pytest.fixture(name="hostile", scope="module")
def _hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, classes, groups and attributes with names that try everything."""
    home = tmp_path_factory.mktemp("hostile")
    (home / "images").mkdir()
    images, annotations = [], []
    for n in range(28):
        name = f"{n}{FILES[n % len(FILES)]}" if n >= len(FILES) else FILES[n]
        pixels = np.random.default_rng(n).integers(0, 255, (40, 60), dtype=np.uint8)
        Image.fromarray(pixels).save(home / "images" / name)
        images.append({"id": n + 1, "file_name": name, "width": 60, "height": 40, "group": f"{EVIL}{n}",
                       "line": CLASSES[n % 3], "camera": EVIL})  # fmt: skip
        if n % 4:
            annotations.append({"id": n + 1, "image_id": n + 1, "category_id": n % len(CLASSES) + 1, "iscrowd": 0,
                                "bbox": [5, 6, 20, 10], "area": 200, "=note": "@SUM(1)"})  # fmt: skip
    categories = [{"id": at + 1, "name": name} for at, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (home / "<i>export.json").write_text(json.dumps(content))
    return home / "<i>export.json"


@pytest.fixture(name="judged", scope="module")
def _judged(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The comparison of two detectors with such names, and what was printed."""
    home = tmp_path_factory.mktemp("out")
    printed = tool("normalize", hostile, "--out", home / "data")
    assert printed.returncode == 0, printed.stderr
    given = []
    for split in ("val", "test"):
        truth = coco.load(home / "data", split)
        box = truth.defects.box + np.array([0, 0, 0, 2])
        for name, keep in ((EVIL, 2), ("=HYPERLINK(1)", 1)):
            said = Predictions(image=truth.defects.image[::keep], label=truth.defects.label[::keep], box=box[::keep],
                               score=np.linspace(0.3, 0.9, len(box[::keep])))  # fmt: skip
            path = home / f"{keep}{split}.json"
            predictions.write(path, said, truth)
            given.append(f"{name}:{split}={path}")
    # '=' ends the name on the command line, so no detector can be called by a formula.
    ok = [text for text in given if not text.startswith("=")]
    ok += [text.replace("=HYPERLINK(1)", "@HYPERLINK(1)") for text in given if text.startswith("=")]
    ok = [text.replace(EVIL, EVIL.replace("=", "\uff1d")) for text in ok]
    run = tool(
        "evaluate", home / "data", "--predictions", *ok, "--out", home / "run", "--no-fiftyone", "--resamples", 50
    )
    assert run.returncode == 0, run.stderr
    audit = tool("audit", home / "data", "--out", home / "run", "--no-alike")
    assert audit.returncode == 0, audit.stderr
    return home / "run", printed.stdout + run.stdout + audit.stdout


def test_markup_of_names_is_shown_as_it_is(judged: tuple[Path, str]) -> None:
    _, printed = judged
    assert "[red]r[/red]" in printed
    assert "\x1b" not in printed


def test_no_cell_of_any_table_starts_a_formula(judged: tuple[Path, str]) -> None:
    folder, _ = judged
    tables = [*folder.rglob("*.csv"), *folder.rglob("*.tsv")]
    assert folder / "ledger.csv" in tables
    texts = 0
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                if not re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d+)?", cell):
                    assert not cell.startswith(STARTS), cell
                    texts += cell.startswith("'")
    assert texts  # some of them would have


@pytest.mark.browser
@pytest.mark.parametrize("page", ["report.html", "audit.html"])
def test_pages_run_nothing_of_the_data_and_ask_for_nothing(judged: tuple[Path, str], page: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    folder, _ = judged
    said: list[str] = []
    asked: list[str] = []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((folder / page).as_uri())
        tab.wait_for_timeout(300)
        title, shown = tab.title(), tab.locator("body").inner_text()
        made = tab.locator("[onerror], [onload], [onclick], b:has-text('&amp;'), body i:has-text('export')").count()
        browser.close()
    assert "pwned" not in title
    assert CLASSES[0] in shown or CLASSES[2] in shown
    assert "{{7*7}}" not in title
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert said == []
    assert made == 0


def test_pages_forbid_every_address(judged: tuple[Path, str]) -> None:
    folder, _ = judged
    for page in ("report.html", "audit.html"):
        text = (folder / page).read_text()
        assert "default-src 'none'" in text
        assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)


@pytest.mark.parametrize("control", ["\x1b[31mred", "a\x07b", "a\x9b31m", "line\nbreak", "a\x00b", "tab\there"])
def test_class_names_with_control_characters_are_refused(control: str, hostile: Path, tmp_path: Path) -> None:
    content = json.loads(hostile.read_text())
    content["categories"][0]["name"] = control
    path = tmp_path / "export.json"
    path.write_text(json.dumps(content))
    run = tool("normalize", path, "--images", hostile.parent / "images", "--out", tmp_path / "out")
    assert run.returncode == 2
    assert "categories[0]" in run.stderr
    assert not set(run.stdout + run.stderr) & set("\x1b\x07\x9b\x00")
    assert not (tmp_path / "out").exists()


def test_what_a_message_quotes_moves_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": \x1b]0;owned\x07}')
    run = tool("normalize", path, "--out", tmp_path / "out\x1b[2J")
    assert run.returncode == 2
    assert "\x1b" not in run.stderr
    (tmp_path / "a\x1b[2J.yaml").write_text("framework: x")
    run = tool("train", tmp_path, tmp_path / "a\x1b[2J.yaml")
    assert run.returncode == 2
    assert "\x1b" not in run.stderr


class Code:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.framework
@pytest.mark.parametrize(
    ("framework", "model"),
    [
        ("classical", "threshold"),
        ("torchvision", "ssd300_vgg16"),
        ("ultralytics", "yolo26n"),
        ("mmdet", "ssdlite320"),
        ("detectron2", "mask_rcnn_r50_fpn"),
    ],
)
def test_a_run_folder_of_a_stranger_runs_no_code(framework: str, model: str, tiny: Path, tmp_path: Path) -> None:
    """Everything in it fits, hashes included; only its checkpoint is a pickle with code."""
    home, marker = tmp_path / "out" / "runs" / "gift-0", tmp_path / "marker"
    home.mkdir(parents=True)
    code = Code(marker)
    (home / "checkpoint.pt").write_bytes(pickle.dumps({"model": code, "state": code}))
    outcome = job.TrainOutcome(checkpoint="checkpoint.pt", images_seen=1, defect_free_seen=0, parameters=1,
                               initial_weights="none")  # fmt: skip
    history = job.History(epochs=1, best_epoch=1, best_score=0.5, stopped_early=False, under_trained=False)
    made = job.TrainJob(detector="gift", framework=framework, model=model, dataset="../../../data", seed=0,
                        settings=job.Settings(weights="none", threads=1))  # fmt: skip
    result = job.Trained(
        outcome=outcome, history=history, checkpoint_sha256=sha256_file(home / "checkpoint.pt"), versions={},
        dataset_fingerprints={}, seconds=1, peak_memory_bytes=1,
    )  # fmt: skip
    (home / "job.json").write_bytes(job.encode(made))
    (home / "result.json").write_bytes(job.encode(result))
    pickle.loads((home / "checkpoint.pt").read_bytes())  # noqa: S301 - it does run, where it is loaded
    assert marker.is_dir()
    marker.rmdir()

    run = tool("predict", tiny, home)

    assert run.returncode in (1, 2), run.stdout
    assert not marker.exists()
    assert "Traceback" not in run.stderr
    assert not list(home.rglob("predictions.json"))


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "bad", ["os.mkdir", "mmengine.mkdir_or_exist", "mmdet.os", "getattr(__import__('os'), 'mkdir')('x')", 5, "a b"]
)
def test_what_a_network_is_said_to_be_made_of_is_no_code(bad: object, mmdet: None) -> None:
    from defect_detect.backends._mmdet import named

    good = {"type": "SSDHead", "test_cfg": {"nms": {"type": "nms"}}, "pre": ({"type": "mmdet.DetDataPreprocessor"},)}
    assert named.unknown([good]) is None
    for content in ({"type": bad}, {**good, "test_cfg": {"nms": {"type": bad}}}, {"all": [{"pre": ({"type": bad},)}]}):
        assert named.unknown(content) == repr(bad)


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "alias"), ("a: &a {b: *a}", "alias"), ("a: 1\na: 2", "twice"), ("a:\n\t- 1", "cannot start"),
        ("!!python/object/apply:os.mkdir [MARKER]", "constructor"), ("a: !!python/name:os.system", "constructor"),
        ("a: !!binary aGk=", "bytes"), ("a: 2020-01-01", "date"), ("a: .inf", "inf"), ("? [1]\n: 2", "unhashable"),
        ("a: " + "[" * 3000, "YAML"), ("a: !!set {b}", "set"), ("? 1.5\n: 2", "neither text"), ("<<: {a: 1}", "merge"),
    ],
)  # fmt: skip
def test_yaml_builds_plain_values_only(text: str, says: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(ConfigError, match=says):
        safe_yaml.parse(text.replace("MARKER", str(marker)), where="x.yaml", error=ConfigError)
    assert not marker.exists()


def test_yaml_reads_small_regular_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_text("#" * (safe_yaml.MAX_BYTES + 1))
    for path in (tmp_path / "pipe.yaml", tmp_path / "large.yaml", Path("/dev/zero"), tmp_path):
        with pytest.raises(ConfigError, match="at most 1 MiB"):
            safe_yaml.read(path, error=ConfigError)


def test_a_worker_sees_none_of_the_callers_environment(tiny: Path, tmp_path: Path) -> None:
    """Neither code that an environment would load nor secrets that a framework might log."""
    planted = tmp_path / "planted"
    planted.mkdir()
    for name in ("sitecustomize", "usercustomize", "numpy"):
        (planted / f"{name}.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    environment = {
        "PYTHONPATH": str(planted), "PYTHONSTARTUP": str(planted / "numpy.py"), "PYTHONINSPECT": "1",
        "AWS_SECRET_ACCESS_KEY": "secret", "GITHUB_TOKEN": "secret", "WANDB_API_KEY": "secret", "MY_PASSWORD": "secret",
        "LD_PRELOAD": str(planted / "none.so"), "LD_AUDIT": str(planted / "none.so"),
    }  # fmt: skip
    seen = runner_environment(environment)
    assert not {name for name in seen if name in environment}
    assert "secret" not in seen.values()
    wanted = job.TrainJob(detector="classical", framework="classical", model="threshold", seed=0,
                          dataset=os.path.relpath(tiny, tmp_path / "run"),
                          settings=job.Settings(epochs=1, weights="none", threads=1))  # fmt: skip
    held = {name: os.environ.get(name) for name in environment}
    try:
        os.environ.update({name: value for name, value in environment.items() if not name.startswith("LD_")})
        done = runner.execute(tmp_path / "run", wanted, framework="classical")
    finally:
        for name, value in held.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    assert isinstance(done, job.Trained)
    assert not (tmp_path / "ran").exists()
    assert "secret" not in (tmp_path / "run" / "log.txt").read_text()


def runner_environment(extra: dict[str, str]) -> dict[str, str]:
    script = "import json, os\nfrom defect_detect import runner\nprint(json.dumps(runner.scrubbed(1)))"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True,
                         env=os.environ | {k: v for k, v in extra.items() if not k.startswith("LD_")})  # fmt: skip
    assert json.loads(run.stdout)
    from unittest import mock

    with mock.patch.dict(os.environ, extra):
        return dict(runner.scrubbed(1))


def test_no_shell_is_ever_asked() -> None:
    """Names of files are arguments, never text of a command."""
    for path in [*(ROOT / "defect_detect").rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        text = path.read_text()
        assert not re.search(
            r"shell\s*=\s*True|os\.system\(|os\.popen\(|subprocess\.getoutput|(?<![.\w])(eval|exec)\(", text
        ), path
        assert "weights_only=False" not in text or path.name == "_trust.py", path


@pytest.fixture(name="listener")
def _listener() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:  # type: ignore[override]
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_addresses_in_the_data_are_never_fetched(
    hostile: Path, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    content = json.loads(hostile.read_text())
    for image in content["images"]:
        image |= {"coco_url": f"{address}/a.png", "flickr_url": f"{address}/b.png"}
    content["images"][0]["file_name"] = f"{address}/c.png"
    path = tmp_path / "export.json"
    path.write_text(json.dumps(content))
    run = tool("normalize", path, "--images", hostile.parent / "images", "--out", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert asked == []
