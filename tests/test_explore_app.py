"""The tool on a real comparison, the App in a real browser."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from defect_detect import comparing
from defect_detect.errors import RunFailed
from defect_detect.explore import serve
from defect_detect.explore.names import dataset_name
from tests.explored import unexpected

TOOL = Path(__file__).parents[1] / "tools" / "explore.py"
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def comparison(tiny: Path, tmp_path_factory) -> Path:
    """Two detectors that were given as files, judged on the tiny dataset."""
    folder = tmp_path_factory.mktemp("runs") / "line 4"
    given = []
    truth = json.loads((tiny / "test.json").read_text())
    for seed, name in enumerate(("vendor-a", "vendor_b")):
        rng = np.random.default_rng(seed)
        said = [
            {
                "image_id": one["image_id"],
                "category_id": one["category_id"],
                "bbox": one["bbox"],
                "score": float(rng.uniform(0.2, 1)),
            }
            for one in truth["annotations"]
            if rng.random() < 0.8
        ]
        path = tmp_path_factory.mktemp(name) / "said.json"
        path.write_text(json.dumps(said))
        given.append(f"{name}={path}")
    comparing.run(
        comparing.Source(path=tiny),
        folder,
        detectors=[],
        given=given,
        judging=comparing.Judging(policy="score=0.5", resamples=20),
        fiftyone=False,
        console=Console(quiet=True),
    )
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    return os.environ | {
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("mongo")),
        "FIFTYONE_DATABASE_NAME": f"test-{uuid.uuid4().hex[:12]}",
    }


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@contextlib.contextmanager
def app(environment: dict[str, str], folder: Path):
    """The App's address; Ctrl-C must end it cleanly."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(TOOL), str(folder), "--headless", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline(), process.stdout.readline()]
            yield re.search(r"http://[^\s?]+", said[1])[0], port
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert (process.wait(60), rest.strip()) == (0, "closed; the dataset stays")
        finally:
            process.kill()


@pytest.mark.browser
def test_the_tool_opens_the_app_lists_and_removes(comparison, environment):
    import psutil
    from playwright.sync_api import expect, sync_playwright

    figures = json.loads((comparison / "comparison.json").read_text())
    images = figures["dataset"]["images"]["test"]
    missed = {place["image"] for place in figures["suspects"]["missed_by_all"]}
    assert 1 < len(missed) < images
    with app(environment, comparison) as (url, port):
        listening = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
        assert listening == {"127.0.0.1"}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--use-gl=swiftshader"]
            )
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            # Its own switch against the advertisement that covers the page on a first visit.
            context.add_init_script("window.IS_PLAYWRIGHT = true")
            page = context.new_page()
            page.set_default_timeout(60_000)
            outside, errors = [], []
            page.route(
                lambda address: not address.startswith(("http://127.0.0.1", "data:", "blob:")),
                lambda route: (outside.append(route.request.url), route.abort()),
            )
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(url)
            expect(page.get_by_text(f"{images} samples")).to_be_visible(timeout=60_000)
            expect(page.get_by_text("vendor_b_below")).to_be_visible()
            page.goto(f"{url}?view=missed-by-all")
            expect(page.get_by_text(f"{len(missed)} samples")).to_be_visible(timeout=60_000)
            page.get_by_title("New panel").first.click()
            page.get_by_text("Model Evaluation").first.click()
            expect(page.get_by_text("2 Model Evaluations")).to_be_visible(timeout=60_000)
            browser.close()
        assert unexpected(errors) == []
        # Only its fonts; it works without.
        assert {re.match(r"https?://([^/]+)", address)[1] for address in outside} <= {"fonts.googleapis.com"}
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 2):  # noqa: PT011 - whichever refusal
        pass
    name = dataset_name(comparison)
    assert run(environment, "--list").stdout.split("\t") == [name, f"{comparison}\n"]
    removed = run(environment, comparison, "--remove")
    assert (removed.returncode, removed.stdout) == (0, f"removed the FiftyOne dataset {name}\n")
    assert run(environment, "--list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "expected the folder of a comparison"), (["nowhere"], "request.json"), (["x", "--port", "0"], "1 to 65535")],
)
def test_mistakes_are_said_in_a_sentence(arguments, said, tmp_path):
    ended = run(dict(os.environ), *arguments)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("program", "says"),
    [("raise SystemExit(3)", "ended while it started"), ("import time; time.sleep(600)", "no answer at 127.0.0.1")],
    ids=["one that ends", "one that never answers"],
)
def test_an_app_that_does_not_start_is_said_and_leaves_no_process(fiftyone, program, says, monkeypatch):
    import psutil
    from fiftyone.core.service import ServerService

    monkeypatch.setattr(ServerService, "command", property(lambda _: [sys.executable, "-c", program]))
    monkeypatch.setattr(serve, "STARTS", 2.0 if "sleep" in program else 60.0)
    monkeypatch.setattr(serve, "ENDS", 5.0)
    before = set(psutil.Process().children(recursive=True))

    with pytest.raises(RunFailed, match=says), serve.server("127.0.0.1", 1):
        pytest.fail("it never answered")
    assert [one for one in psutil.Process().children(recursive=True) if one not in before] == []


def test_an_app_that_starts_leaves_ctrl_c_to_us(fiftyone, monkeypatch):
    """Else it writes a traceback of its imports to the terminal."""
    ignored = []

    def look(child, *_):
        ignored.append(int(re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{child.pid}/status").read_text())[1], 16))
        raise RunFailed("seen")

    monkeypatch.setattr(serve, "_wait", look)
    monkeypatch.setattr(serve, "ENDS", 5.0)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RunFailed, match="seen"), serve.server("127.0.0.1", 1):
        pytest.fail("it never answered")
    assert ignored[0] & 1 << (signal.SIGINT - 1)
    assert signal.getsignal(signal.SIGINT) is before is not signal.SIG_IGN


def test_an_app_that_will_not_end_is_killed(fiftyone, monkeypatch):
    import psutil
    from fiftyone.core.service import ServerService

    # It answers as FiftyOne does, and then takes no notice of being told to end.
    program = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(ServerService, "command", property(lambda _: [sys.executable, "-c", program, str(port)]))
    monkeypatch.setattr(serve, "ENDS", 1.0)
    before = set(psutil.Process().children(recursive=True))

    with serve.server("127.0.0.1", port):
        assert set(psutil.Process().children(recursive=True)) > before
    assert [one for one in psutil.Process().children(recursive=True) if one not in before] == []
