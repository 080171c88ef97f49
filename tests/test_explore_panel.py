"""The Missed defects panel: in a real browser against comparison.json and `evaluate`, its operators without one."""

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
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from rich.console import Console

from defect_detect import comparing
from defect_detect import folder as comparisons
from defect_detect.errors import ConfigError, InputError
from defect_detect.evaluation import review
from defect_detect.explore import columns, datasets, names, reviewed, selected
from defect_detect.explore import rows as rows_of
from defect_detect.explore.plugin import decided, installed, sheets, workspace
from defect_detect.explore.plugin.asked import SCORE, asked
from defect_detect.explore.plugin.shown import show
from defect_detect.explore.selected import label_ids
from defect_detect.explore.store import store
from tests.explored import unexpected

TOOL = Path(__file__).parents[1] / "tools" / "explore.py"
CHROMIUM = Path("/usr/bin/chromium")
DETECTORS = ("vendor-a", "vendor_b", "c")
START, DRAGGED = 0.5, 0.501


def said(root: Path, split: str, seed: int) -> list[dict]:
    """Most defects found, some under any threshold; alarms where there is nothing."""
    rng = np.random.default_rng([seed, len(split)])
    truth = json.loads((root / f"{split}.json").read_text())
    hits = [
        {"image_id": one["image_id"], "category_id": one["category_id"], "score": float(rng.uniform(0.2, 1)),
         "bbox": [one["bbox"][0], one["bbox"][1], one["bbox"][2] * rng.uniform(0.5, 1), one["bbox"][3]]}
        for one in truth["annotations"] if one["id"] % 7 and rng.random() < 0.9
    ]  # fmt: skip
    return hits + [
        {"image_id": one["id"], "category_id": 1, "bbox": [1, 1, 9, 9], "score": float(rng.uniform(0.05, 0.6))}
        for one in truth["images"] if rng.random() < 0.5
    ]  # fmt: skip


def compared(tiny: Path, root: Path, policy: str, review: Path | None = None) -> Path:
    out, given = root / "line 4", []
    root.mkdir(exist_ok=True)
    for seed, name in enumerate(DETECTORS):
        for split in ("val", "test"):
            path = root / f"{name}-{split}.json"
            told = said(tiny, split, seed)
            if split == "test":
                # A score on which the drag below turns.
                told[0]["score"] = (START + DRAGGED) / 2
            path.write_text(json.dumps(told))
            given.append(f"{name}:{split}={path}")
    comparing.run(
        comparing.Source(path=tiny), out, detectors=[], given=given, fiftyone=False, console=Console(quiet=True),
        judging=comparing.Judging(policy=policy, resamples=40, review=review),
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory) -> Path:
    return compared(tiny, tmp_path_factory.mktemp("runs"), "fppi<=0.5")


@pytest.fixture(scope="module")
def at_score(tiny, tmp_path_factory) -> dict:
    """What `evaluate` says at the score that the slider is dragged to."""
    return json.loads(
        (compared(tiny, tmp_path_factory.mktemp("again"), f"score={DRAGGED}") / "comparison.json").read_text()
    )


# The browser


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    return os.environ | {
        "FIFTYONE_DATABASE_DIR": str(tmp_path_factory.mktemp("mongo")),
        "FIFTYONE_DATABASE_NAME": f"test-{uuid.uuid4().hex[:12]}",
        "FIFTYONE_PLUGINS_DIR": str(tmp_path_factory.mktemp("plugins")),
    }


@contextlib.contextmanager
def app(environment: dict[str, str], folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(TOOL), str(folder), "--headless", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline(), process.stdout.readline()]
            yield re.search(r"http://\S+", lines[1])[0]
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode == 0
        finally:
            process.kill()


def by_both(comparison: dict) -> int:
    """How many defects the first and the last detector find."""
    ends = {DETECTORS[0], DETECTORS[-1]}
    return sum(one["count"] for one in comparison["agreement"]["subsets"] if not ends & set(one["missed_by"]))


def row_of(page, name: str) -> list[str]:
    """The texts of the first table row that begins with `name`."""
    cells = page.locator("tr", has=page.get_by_role("cell", name=name, exact=True)).first.locator("td")
    return [text.replace("\u00a0", " ").strip() for text in cells.all_inner_texts()]


def figures(comparison: dict) -> dict[str, tuple[str, ...]]:
    """Detector -> missed, FN rate, FPPI, escape and overkill with their intervals, as the panel writes them."""
    told = {}
    for detector in comparison["detectors"]:
        test = detector["test"]
        count = test["fn_rate"]["rate"]
        told[detector["name"]] = (
            f"{count['count']}/{count['of']}", share(test["fn_rate"]), number(test["fppi"]),
            share(test["escape_rate"]), share(test["overkill_rate"]),
        )  # fmt: skip
    return told


def share(estimate: dict) -> str:
    rate, low, high = parts_of(estimate)
    return f"{100 * rate:.1f} % [{100 * low:.1f} to {100 * high:.1f}]"


def number(estimate: dict) -> str:
    rate, low, high = parts_of(estimate)
    return f"{rate:.3f} [{low:.3f} to {high:.3f}]"


def parts_of(estimate: dict) -> tuple[float, float, float]:
    rate, interval = estimate["rate"], estimate["this_threshold"]
    return rate["count"] / rate["of"], interval["low"], interval["high"]


def expect_figures(page, comparison: dict) -> None:
    from playwright.sync_api import expect

    for name, told in figures(comparison).items():
        row = page.locator("tr", has=page.get_by_role("cell", name=name, exact=True)).first
        expect(row.locator("td").nth(1)).to_have_text(told[0])
        assert [cell.replace("\n", " ") for cell in row_of(page, name)[1:6]] == list(told)


def watched(browser, outside: list[str], errors: list[str]):
    """A page that reaches this machine only, and tells what it wanted besides and what went wrong."""
    context = browser.new_context(viewport={"width": 1800, "height": 1100})
    # Its own switch against the advertisement that covers the page on a first visit.
    context.add_init_script("window.IS_PLAYWRIGHT = true")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.route(
        lambda address: not address.startswith(("http://127.0.0.1", "data:", "blob:")),
        lambda route: (outside.append(route.request.url), route.abort()),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
    return page


@pytest.mark.fiftyone
@pytest.mark.browser
def test_the_panel_in_the_app(folder, at_score, environment, tiny, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    stored = json.loads((folder / "comparison.json").read_text())
    by_all = next(one["count"] for one in stored["agreement"]["subsets"] if len(one["missed_by"]) == len(DETECTORS))
    assert by_all > 1
    assert figures(stored) != figures(at_score)
    expect.set_options(timeout=60_000)
    outside, errors = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--use-gl=swiftshader"])
        page = watched(browser, outside, errors)
        with app(environment, folder) as url:
            page.goto(url)
            expect_figures(page, stored)
            # What all miss, as patches: as many, and these.
            page.get_by_role("cell", name="missed by all 3").click()
            expect(page.get_by_text(re.compile(rf"^{by_all} patch"))).to_be_visible()
            # One is a label error.
            page.get_by_text("Review", exact=True).click()
            expect(page.get_by_text("Nothing is decided yet.")).to_be_visible()
            tile = page.locator("[data-cy=looker]").first
            tile.hover()
            tile.locator("[data-cy=looker-checkbox-]").click()
            page.get_by_role("button", name="label error", exact=True).click()
            expect(page.get_by_text("1 label error", exact=True)).to_be_visible()
            page.get_by_text("Agreement", exact=True).click()
            # A detector less leaves none of its figures behind.
            page.locator(".MuiChip-root", has_text="vendor_b").locator("svg").click()
            expect(page.get_by_role("cell", name="missed by all 2")).to_be_visible()
            expect(page.get_by_role("cell", name="vendor_b", exact=True)).to_have_count(0)
            page.get_by_role("combobox").last.click()
            page.get_by_role("option", name="vendor_b").click()
            expect(page.get_by_role("cell", name="missed by all 3")).to_be_visible()
            # Another threshold says what `evaluate` says there.
            page.get_by_text("as compared: fppi<=0.5").click()
            page.get_by_role("option", name="drag one threshold for all").click()
            expect(row_at(page, "vendor-a", 6)).to_have_text(f"{START:.4f}")
            dragged(page)
            expect_figures(page, at_score)
            compared_two(page, by_both(at_score))
            # By the mouse as well, wherever it ends.
            score = pulled(page)
            there = compared(tiny, tmp_path, f"score={score}")
            expect_figures(page, json.loads((there / "comparison.json").read_text()))
            # An App that ends under an open page is an error to the page.
            page.goto("about:blank")
        with app(environment, folder) as url:
            page.goto(url)
            page.get_by_text("Review", exact=True).click()
            expect(page.get_by_text("1 label error", exact=True)).to_be_visible()
            page.goto("about:blank")
        browser.close()
    assert {re.match(r"https?://([^/]+)", one)[1] for one in outside} <= {"fonts.googleapis.com"}
    assert unexpected(errors) == []
    kept = review.read(folder / decided.FILE).decided
    assert [one.decision for one in kept] == [review.LABEL_ERROR]
    assert sorted(kept[0].missed_by) == sorted(DETECTORS)


def compared_two(page, both: int) -> None:
    """An operator that the panel opens takes the panel's threshold, says so, and keeps it when something is chosen."""
    from playwright.sync_api import expect

    said = page.get_by_text(f"As the panel has it: score {DRAGGED}, IoU 0.5 of boxes.")
    page.get_by_role("button", name="compare two detectors", exact=True).click()
    expect(said).to_be_visible()
    page.get_by_text("hit-hit: both find it").click()
    expect(said).to_be_visible()
    page.get_by_role("button", name="Execute", exact=True).click()
    expect(page.get_by_text(re.compile(rf"^{both} patch"))).to_be_visible()


def dragged(page) -> None:
    """One step up; an answer on its way may put a new slider in the place of the one that had the focus."""
    from playwright.sync_api import expect

    for _ in range(3):
        page.get_by_role("slider").last.press("ArrowRight")
        with contextlib.suppress(AssertionError):
            expect(row_at(page, "vendor-a", 6)).to_have_text(f"{DRAGGED:.4f}", timeout=20_000)
            return
    pytest.fail("the slider didn't move")


def pulled(page) -> float:
    """The slider pulled far to the left with the mouse, in small steps; the score where it was let go."""
    from playwright.sync_api import expect

    thumb = page.locator(".MuiSlider-thumb").last
    thumb.scroll_into_view_if_needed()
    at, rail = thumb.bounding_box(), page.locator(".MuiSlider-rail").last.bounding_box()
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - rail["width"] / 5, y, steps=12)
    page.mouse.up()
    expect(row_at(page, "vendor-a", 6)).not_to_have_text(f"{DRAGGED:.4f}")
    score = float(page.get_by_role("slider").last.get_attribute("aria-valuenow"))
    assert abs(score - (DRAGGED - 0.2)) < 0.05
    # What was on its way arrives; the last of it is where the slider stands.
    expect(row_at(page, "vendor-a", 6)).to_have_text(f"{score:.4f}")
    return score


def row_at(page, name: str, column: int):
    return page.locator("tr", has=page.get_by_role("cell", name=name, exact=True)).first.locator("td").nth(column)


# The tables


def test_every_cell_opens_as_many_defects_as_it_says(folder):
    held = columns.load(folder)
    shown = show(folder, asked({}, held))
    truth = held.truth.defects
    assert sum(int(row[1]) for row in sheets.agreement(shown).rows) == truth.counts.sum()
    for number, row in enumerate(sheets.agreement(shown).rows):
        assert sheets.agreement(shown).clicked(number, 0).where.sum() == int(row[1])
    for number, row in enumerate(sheets.figures(shown).rows):
        assert sheets.figures(shown).clicked(number, 0).where.sum() == int(row[1].split("/")[0])
    parts, reasons = sheets.by_part(shown), sheets.by_reason(shown)
    assert {row[0] for row in parts.rows} >= {"class", "size"}
    for number, row in enumerate(parts.rows):
        for column in range(2, len(row)):
            if row[column] != "n/a":
                assert parts.clicked(number, column).where.sum() == int(re.search(r"\((\d+)/", row[column])[1])
    assert sum(int(cell) for row in reasons.rows for cell in row[2:]) > 0
    for number, row in enumerate(reasons.rows):
        for column in range(2, len(row)):
            assert reasons.clicked(number, column).where.sum() == int(row[column])


@pytest.mark.parametrize(("order", "descending"), [("size", True), ("size", False), ("score", True), ("class", False)])
def test_the_list_is_sorted_and_whole(folder, order, descending):
    shown = show(folder, asked({}, columns.load(folder)))
    where = sheets.agreement(shown).clicked(0, 0).where
    told, ids = sheets.misses(shown, where, by=order, descending=descending, start=0, most=10_000)
    assert len(ids) == len(set(ids)) == where.sum() == len(told.rows)
    column = {"class": 0, "size": 1, "score": 2}[order]
    values = [
        row[0] if column == 0 else float((row[column].split() or [0])[0].replace("none", "-1")) for row in told.rows
    ]
    assert values == sorted(values, reverse=descending)


@pytest.mark.parametrize(
    "state",
    [{"iou": "x"}, {"detectors": ["gone"]}, {"detectors": []}, {"operating": "score", "score": None}, {"geometry": ""}],
)
def test_a_state_without_sense_is_the_comparisons_own(folder, state):
    held = columns.load(folder)
    wanted = asked(state, held)
    assert wanted.names == held.names
    assert wanted.rule == held.rule


# The plugin's folder


def test_the_plugin_is_installed_brought_up_to_date_and_removed(tmp_path):
    other = tmp_path / "theirs"
    other.mkdir()
    (other / "fiftyone.yml").write_text("name: theirs\n")
    place = installed.install(tmp_path)
    (place / "__init__.py").write_text("old")
    assert installed.install(tmp_path) == place
    assert "register" in (place / "__init__.py").read_text()
    assert installed.remove(tmp_path) == place
    assert installed.remove(tmp_path) is None
    assert [one.name for one in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("text", ["name: somebody\n", "- a\n", "{", ""])
def test_somebody_elses_plugin_of_our_folders_name_is_left_alone(tmp_path, text):
    place = tmp_path / installed.FOLDER
    place.mkdir()
    (place / "fiftyone.yml").write_text(text)
    with pytest.raises(ConfigError, match="something else"):
        installed.install(tmp_path)
    assert installed.remove(tmp_path) is None
    assert [one.name for one in place.iterdir()] == ["fiftyone.yml"]


# The operators


def keep_of(folder: Path) -> str:
    """The name of the comparison's dataset, stored if it isn't."""
    return store("line 4", *comparisons.load(folder), folder=folder)


@pytest.fixture(scope="module")
def stored(fiftyone, folder, tmp_path_factory):
    """The comparison's dataset, and a way to call what the plugin brings."""
    import asyncio

    from fiftyone.operators.executor import execute_or_delegate_operator

    before, fiftyone.config.plugins_dir = fiftyone.config.plugins_dir, str(tmp_path_factory.mktemp("plugins"))
    installed.install(Path(fiftyone.config.plugins_dir))

    def keep() -> str:
        return keep_of(folder)

    def act(operator: str, params: dict | None = None, **more) -> dict:
        request = {"dataset_name": more.pop("dataset_name", None) or keep(), "params": params or {}, **more}
        done = asyncio.run(execute_or_delegate_operator(f"{names.PLUGIN}/{operator}", request, exhaust=True)).to_json()
        assert not done["error"], done["error"]
        asked_for = {one["operator_uri"].rsplit("/", 1)[-1]: one["params"] for one in done["executor"]["requests"]}
        return asked_for | {"said": (done["result"] or {}).get("said")}

    yield act, keep
    fiftyone.config.plugins_dir = before


def shown_ids(done: dict) -> set[str]:
    stages = done["set_view"]["view"]
    assert [one["_cls"].rsplit(".", 1)[-1] for one in stages] == ["SelectLabels", "ToPatches"]
    return set(dict(stages[0]["kwargs"])["ids"])


@pytest.mark.fiftyone
def test_operators_show_the_defects_they_are_asked_for(fiftyone, folder, stored):
    act, keep = stored
    dataset = fiftyone.load_dataset(keep())
    of = {d.id: d for sample in dataset for d in sample.ground_truth.detections if d.fate != "not counted"}
    assert shown_ids(act("show_misses", {"detector": "c"})) == {i for i, d in of.items() if "c" in d.missed_by}
    assert shown_ids(act("show_misses", {"detector": "all"})) == {i for i, d in of.items() if len(d.missed_by) == 3}
    small = {i for i, d in of.items() if "vendor_b" in d.missed_by and d.vendor_b_reason == "unseen"}
    assert shown_ids(act("show_misses", {"detector": "vendor_b", "reason": "unseen"})) == small
    pair = {}
    for kind in ("hit-hit", "hit-miss", "miss-hit", "miss-miss"):
        done = act("compare_two", {"first": "vendor-a", "second": "c", "kind": kind})
        pair[kind] = shown_ids(done) if "set_view" in done else set()
    assert set.union(*pair.values()) == set(of)
    assert sum(map(len, pair.values())) == len(of)
    assert pair["miss-hit"] == {i for i, d in of.items() if "vendor-a" in d.missed_by and "c" not in d.missed_by}


@pytest.mark.fiftyone
def test_panel_events_open_what_was_clicked(fiftyone, folder, stored):
    act, _ = stored
    held = columns.load(folder)
    wanted = asked({"operating": SCORE, "score": 0.7}, held)
    sheet = sheets.agreement(show(folder, wanted))
    state = {"settings": {"operating": SCORE}, "score": 0.7}
    done = act("missed_defects", {"__method__": "clicked_agreement", "panel_id": "p", "panel_state": state, "row": 0})
    assert shown_ids(done) == set(label_ids(held, sheet.clicked(0, 0).where))
    assert done["patch_panel_data"]["data"][f"agreement_{len(sheet.rows)}"][0]["c0"] == sheet.rows[0][0]


@pytest.mark.fiftyone
def test_marks_are_kept_checked_counted_in_and_survive_the_dataset(fiftyone, folder, stored):
    act, keep = stored
    (folder / decided.FILE).unlink(missing_ok=True)
    dataset = fiftyone.load_dataset(keep())
    missed = [(s.id, d.id) for s in dataset for d in s.ground_truth.detections if d.missed_by and len(d.missed_by) == 3]
    alarm = next((s.id, d.id) for s in dataset for d in s["c"].detections if d.outcome == "background")

    def select(field: str, pair: tuple[str, str]) -> list[dict[str, str]]:
        return [{"field": field, "sample_id": pair[0], "label_id": pair[1]}]

    refused = act("mark", {"decision": "unlabelled defect"}, selected_labels=select("ground_truth", missed[0]))
    assert "for ground truth" in refused["said"]
    assert not (folder / decided.FILE).exists()
    act("mark", {"decision": "true miss"}, selected_labels=select("ground_truth", missed[0]))
    act("mark", {"decision": "label error"}, selected_labels=select("ground_truth", missed[0]))
    act("mark", {"decision": "unlabelled defect"}, selected_labels=select("c", alarm))
    kept = review.read(folder / decided.FILE)
    assert sorted(one.decision for one in kept.decided) == ["label error", "unlabelled defect"]
    assert kept.header.sample is not None
    assert sum(one.sampled for one in kept.entries) == kept.header.sample.drawn > 0
    before = show(folder, asked({}, columns.load(folder))).figures["c"].fn_rate.rate
    after = show(folder, asked({"corrected": True}, columns.load(folder))).figures["c"].fn_rate.rate
    # One miss is none any more, one alarm is a hit.
    assert (after.count, after.of) == (before.count - 1, before.of)
    assert datasets.remove(folder) == dataset.name
    again = fiftyone.load_dataset(keep())
    assert decided.tagged(again) == {}
    act("missed_defects", {"__method__": "on_load", "panel_id": "p", "panel_state": {}})
    again.reload()
    assert set(decided.tagged(again)) == {missed[0][1], alarm[1]}
    act("mark", {"decision": "not decided"}, selected_labels=select("c", alarm))
    assert [one.decision for one in review.read(folder / decided.FILE).decided] == ["label error"]
    (folder / decided.FILE).unlink()


@pytest.mark.fiftyone
def test_a_view_is_exported_as_coco_with_all_labels_of_its_pictures(fiftyone, folder, stored, tmp_path):
    act, _ = stored
    out = tmp_path / "view.json"
    assert str(out) in act("export_coco", {"out": str(out)})["said"]
    assert "a new file" in act("export_coco", {"out": str(out)})["said"]
    truth = columns.load(folder).truth
    told = json.loads(out.read_text())
    assert len(told["images"]) == len(truth.images)
    assert len(told["annotations"]) == len(truth.defects)
    assert all((truth.root / one["file_name"]).is_file() for one in told["images"])


@pytest.mark.fiftyone
def test_recomputing_writes_the_fates_at_that_threshold_and_back(fiftyone, folder, stored):
    act, keep = stored
    dataset = fiftyone.load_dataset(keep())
    before = {key: dataset.sum(f"{key}_fn") for key in dataset.list_evaluations()}
    assert act("recompute", {"operating": "score", "score": 0.8})["said"].endswith("score 0.8, IoU 0.5 of boxes")
    dataset.reload()
    shown = show(folder, asked({"operating": SCORE, "score": 0.8}, columns.load(folder)))
    for one in shown.entrants:
        key = names.identifier(one.name)
        assert dataset.sum(f"{key}_fn") == shown.figures[one.name].fn_rate.rate.count != before[key]
        told = dataset.count_values(f"ground_truth.detections.{key}")
        assert told["fn"] == dataset.sum(f"{key}_fn")
        assert dataset.load_evaluation_results(key).metrics()["recall"] == pytest.approx(
            1 - shown.figures[one.name].fn_rate.rate.value
        )
    act("recompute", {"operating": "stored"})
    dataset.reload()
    assert {key: dataset.sum(f"{key}_fn") for key in dataset.list_evaluations()} == before


def event(act, method: str, state: dict, **params) -> dict:
    return act("missed_defects", {"__method__": method, "panel_id": "p", "panel_state": state, **params})


AT_07 = {"settings": {"operating": "score"}, "score": 0.7}


@pytest.mark.fiftyone
def test_rows_and_cells_of_every_table_open_what_they_count(folder, stored):
    act, _ = stored
    held = columns.load(folder)
    shown = show(folder, asked({"operating": SCORE, "score": 0.7}, held))
    done = event(act, "clicked_figures", AT_07, row=2)
    assert shown_ids(done) == set(label_ids(held, sheets.figures(shown).clicked(2, 0).where))
    for method, sheet in (("clicked_parts", sheets.by_part(shown)), ("clicked_reasons", sheets.by_reason(shown))):
        cells = [(row, column) for row in range(len(sheet.rows)) for column in (1, 2, 4)]
        row, column = next(cell for cell in cells if (click := sheet.clicked(*cell)) and click.where.any())
        done = event(act, method, AT_07, row=row, column=column)
        assert shown_ids(done) == set(label_ids(held, sheet.clicked(row, column).where))
        # A heading means no defects, and neither does a cell that counts none.
        assert "set_view" not in event(act, method, AT_07, row=-1, column=2)
    empty = next(n for n, row in enumerate(sheet.rows) if row[2] == "0")
    assert "No defect" in event(act, "clicked_reasons", AT_07, row=empty, column=2)["notify"]["message"]


@pytest.mark.fiftyone
def test_the_list_is_paged_sorted_and_opened(folder, stored, monkeypatch):
    from defect_detect.explore.plugin import listed

    act, _ = stored
    monkeypatch.setattr(listed, "ROWS", 3)
    held = columns.load(folder)
    shown = show(folder, asked({"operating": SCORE, "score": 0.7}, held))
    state = AT_07 | {"tab": "misses", "listing": {"which": "by c", "order": "score+"}}
    lost = selected.missed(shown.entrants)["c"]
    _, ids = sheets.misses(shown, lost, by="score", descending=False, start=0, most=1000)
    assert len(ids) > 6

    def page(done: dict) -> list[str]:
        return [row["c5"] for row in done["patch_panel_data"]["data"]["misses_3"]]

    pictures = [one.image for one in selected.misses(held, shown.entrants, lost, by="score", descending=False)]
    assert page(event(act, "turned", state, to=0)) == pictures[:3]
    done = event(act, "turned", state, to=1)
    assert done["patch_panel_state"]["state"]["page"] == 1
    assert page(event(act, "changed", state | {"page": 1}, path="tab", value="misses")) == pictures[3:6]
    assert shown_ids(event(act, "clicked_miss", state | {"page": 1}, row=2, column=0)) == {ids[5]}
    # Beyond the end is the last page.
    last = len(ids) - 1 - (len(ids) - 1) % 3
    assert shown_ids(event(act, "clicked_miss", state | {"page": 99}, row=0, column=0)) == {ids[last]}
    assert shown_ids(event(act, "open_listed", state)) == set(ids)
    done = event(act, "clicked_miss", state | {"page": 1}, row=-1, column=2)
    assert "set_view" not in done
    assert done["patch_panel_state"]["state"] == {"page": 0}
    assert [listed.turned(2, "score+"), listed.turned(2, "score-"), listed.turned(5, "")] == [
        "score-", "score+", "score-",
    ]  # fmt: skip
    assert [listed.turned(0, "size-"), listed.turned(1, "class+")] == ["class+", "size-"]


@pytest.mark.fiftyone
def test_operators_that_the_panel_calls_take_its_threshold_and_say_so(fiftyone, folder, stored):
    from defect_detect.explore.plugin import questions

    act, keep = stored
    held = columns.load(folder)
    at_07 = selected.missed(show(folder, asked({"operating": SCORE, "score": 0.7}, held)).entrants)
    as_compared = selected.missed(show(folder, asked({}, held)).entrants)
    assert at_07["c"].sum() > as_compared["c"].sum()
    # Whichever detectors the panel shows.
    here = {"panel_id": "p", "panel_state": AT_07 | {"settings": {"operating": "score", "detectors": ["vendor-a"]}}}
    assert shown_ids(act("show_misses", {"detector": "c"} | here)) == set(label_ids(held, at_07["c"]))
    assert shown_ids(act("show_misses", {"detector": "c"})) == set(label_ids(held, as_compared["c"]))
    both = {"first": "vendor-a", "second": "c", "kind": "miss-miss"}
    assert shown_ids(act("compare_two", both | here)) == set(label_ids(held, at_07["vendor-a"] & at_07["c"]))
    dataset = fiftyone.load_dataset(keep())

    def form(operator, state: dict) -> dict:
        context = SimpleNamespace(dataset=dataset, panel_state=state, params={})
        return operator().resolve_input(context).to_json()["type"]["properties"]

    for operator in questions.OPERATORS:
        assert "As compared: fppi<=0.5, IoU 0.5 of boxes." in json.dumps(form(operator, {}))
        assert "As the panel has it: score 0.7, IoU 0.5 of boxes." in json.dumps(form(operator, here["panel_state"]))
    told = form(questions.CompareTwo, here["panel_state"])["kind"]["view"]["choices"]
    assert told[3]["label"].endswith(f"({int((at_07['vendor-a'] & at_07['c']).sum())})")
    done = event(act, "asked_more", AT_07, question="compare_two")
    assert done["prompt_user_for_operation"]["operator_uri"] == f"{names.PLUGIN}/compare_two"


@pytest.mark.fiftyone
def test_metrics_of_a_stored_run_are_the_comparisons(fiftyone, folder, stored):
    from defect_detect.explore import metrics

    _, keep = stored
    dataset = fiftyone.load_dataset(keep())
    told = json.loads((folder / "comparison.json").read_text())["detectors"]
    for detector in told:
        results = dataset.load_evaluation_results(names.identifier(detector["name"]))
        found = {one.figure: one().compute(dataset, results) for one in metrics.OPERATORS}
        assert found.pop("olrp") == detector["lrp"]["olrp"]
        rates = {name: detector["test"][name]["rate"] for name in found}
        assert found == {name: rate["count"] / rate["of"] for name, rate in rates.items()}
    results.config.stored = results.config.stored | {"detector": "gone"}
    with pytest.raises(ConfigError, match="no such run"):
        metrics.OPERATORS[0]().compute(dataset, results)
    results.config.stored = results.config.stored | {"folder": str(folder / "gone")}
    with pytest.raises(InputError):
        metrics.OPERATORS[0]().compute(dataset, results)


@pytest.mark.fiftyone
def test_a_sample_of_hits_is_opened_and_written_for_review(fiftyone, folder, stored):
    act, keep = stored
    fiftyone.load_dataset(keep()).untag_labels(list(review.DECISIONS))
    held = columns.load(folder)
    entrants = show(folder, asked({}, held)).entrants
    hits = set(label_ids(held, held.truth.defects.counts & ~np.any(list(selected.missed(entrants).values()), axis=0)))
    sample = shown_ids(act("sample_of_hits"))
    assert 0 < len(sample) <= len(hits)
    assert sample <= hits
    assert shown_ids(event(act, "sample", {"tab": "review"})) == sample
    (folder / decided.FILE).unlink(missing_ok=True)
    assert act("export_review")["said"] == f"0 decisions in {folder / decided.FILE}"
    kept = review.read(folder / decided.FILE)
    assert kept.decided == []
    truth = held.truth
    rows = [int(np.flatnonzero(truth.defects.id == one.annotation)[0]) for one in kept.entries]
    assert {rows_of.defect_id(truth, row) for row in rows} == sample
    assert all(one.sampled for one in kept.entries)
    (folder / decided.FILE).unlink()


@pytest.mark.fiftyone
def test_the_panels_button_recomputes_at_what_it_shows(fiftyone, folder, stored):
    act, keep = stored
    dataset = fiftyone.load_dataset(keep())
    before = dataset.sum("c_fn")
    done = event(act, "recompute", AT_07)
    assert "score 0.7" in done["notify"]["message"]
    assert "reload_dataset" in done
    dataset.reload()
    shown = show(folder, asked({"operating": SCORE, "score": 0.7}, columns.load(folder)))
    assert dataset.sum("c_fn") == shown.figures["c"].fn_rate.rate.count > before
    refused = event(act, "recompute", AT_07 | {"settings": {"operating": "score", "detectors": ["c"]}})
    assert "all detectors" in refused["notify"]["message"]
    event(act, "recompute", {})
    dataset.reload()
    assert dataset.sum("c_fn") == before


@pytest.mark.fiftyone
def test_marks_come_on_top_of_the_review_that_a_comparison_was_made_with(fiftyone, tiny, stored, tmp_path):
    act, _ = stored
    first = compared(tiny, tmp_path / "first", "fppi<=0.5")
    held = columns.load(first)
    by_all = np.flatnonzero(np.all(list(selected.missed(show(first, asked({}, held)).entrants).values()), axis=0))
    assert len(by_all) > 2
    known = decided.unreviewed(first)
    ids = {rows_of.defect_id(held.truth, int(row)): int(row) for row in by_all}
    error, sure, later = list(ids)[:3]
    said_before = reviewed.decisions({error: ["label error"], sure: ["true miss"]}, known.judged)
    (tmp_path / "before.jsonl").write_bytes(review.encode(said_before))
    folder = compared(tiny, tmp_path / "second", "fppi<=0.5", review=tmp_path / "before.jsonl")
    held = columns.load(folder)
    assert len(known.judged[0].evaluation.truth.defects.id) - 1 == held.truth.defects.counts.sum()
    dataset = fiftyone.load_dataset(keep_of(folder))
    on = {"dataset_name": dataset.name}
    assert (
        "1 label marked"
        in act("mark", {"decision": "true miss"}, selected_labels=[{"field": "ground_truth", "label_id": later}], **on)[
            "said"
        ]
    )
    kept = review.read(folder / decided.FILE).decided
    annotation = {label: int(known.judged[0].evaluation.truth.defects.id[row]) for label, row in ids.items()}
    expected = {annotation[error]: "label error", annotation[sure]: "true miss", annotation[later]: "true miss"}
    assert {one.annotation: one.decision for one in kept} == expected
    # A true miss is what it was counted as; the review before it counts already.
    as_it_is, corrected = (show(folder, asked({"corrected": on}, held)) for on in (False, True))
    for name in DETECTORS:
        assert corrected.figures[name].fn_rate.rate == as_it_is.figures[name].fn_rate.rate
    act("mark", {"decision": "label error"}, selected_labels=[{"field": "ground_truth", "label_id": later}], **on)
    corrected = show(folder, asked({"corrected": True}, held))
    before, after = as_it_is.figures["c"].fn_rate.rate, corrected.figures["c"].fn_rate.rate
    assert (after.count, after.of) == (before.count - 1, before.of - 1)
    datasets.remove(folder)
    dataset = fiftyone.load_dataset(keep_of(folder))
    event(lambda name, params: act(name, params, dataset_name=dataset.name), "on_load", {})
    dataset.reload()
    tags = decided.tagged(dataset)
    assert error not in tags  # it is no ground truth any more
    assert {"true miss"} == set(tags[sure]) & set(review.DECISIONS)
    assert {"label error"} == set(tags[later]) & set(review.DECISIONS)
    # What the review before says can be overruled, but not unsaid.
    for label, rest in ((sure, "; 1 decided by the review"), (later, "")):
        said = act(
            "mark", {"decision": "not decided"}, selected_labels=[{"field": "ground_truth", "label_id": label}], **on
        )
        assert re.match(rf"1 label without a decision of yours{rest}", said["said"])
        assert ("decided by" in said["said"]) == bool(rest)
    kept = review.read(folder / decided.FILE).decided
    assert {one.annotation: one.decision for one in kept} == {
        key: word for key, word in expected.items() if key != annotation[later]
    }
    out = tmp_path / "view.json"
    act("export_coco", {"out": str(out)}, **on)
    assert len(json.loads(out.read_text())["annotations"]) == len(held.truth.defects)
    datasets.remove(folder)


@pytest.mark.fiftyone
def test_the_workspace_shows_pictures_and_panel(fiftyone, stored):
    _, keep = stored
    spaces = fiftyone.load_dataset(keep()).load_workspace(workspace.NAME)
    assert [space.children[0].type for space in spaces.children] == ["Samples", "missed_defects"]
    assert all(space.active_child == space.children[0].component_id for space in spaces.children)


def test_the_definition_names_all_that_is_registered():
    said = yaml.safe_load((Path(installed.__file__).parent / "entry" / "fiftyone.yml").read_text())
    assert said["name"] == names.PLUGIN
