"""What a comparison leaves for people: every rate with its denominator, nothing from data run, the same bytes."""

import base64
import csv
import dataclasses
import hashlib
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from defect_detect.evaluation import comparison as values
from defect_detect.evaluation.agreement import missed_by
from defect_detect.evaluation.judged import Contender, Judged, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.report import gallery, ledger_csv, markdown, misses, page, palette, panels, wording
from defect_detect.report.charts import dots, froc
from defect_detect.report.costs import amount, costs
from defect_detect.report.sections import missed
from defect_detect.report.terminal import print_comparison
from defect_detect.report.write import write
from defect_detect.tables import Dataset, Predictions
from tests.report_values import HOSTILE, NAMES, compared, contender, judge, said, surface


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return surface(tmp_path_factory.mktemp("plates"))


@pytest.fixture(scope="module")
def validation(tmp_path_factory):
    return dataclasses.replace(surface(tmp_path_factory.mktemp("more"), seed=8), split="val", fingerprint="e" * 64)


@pytest.fixture(scope="module")
def both(truth, validation):
    field = [contender(n, truth, validation, skill=s) for n, s in zip(NAMES, (0.5, 0.1, 0.3), strict=True)]
    comparison, judged = compared(field, truth)
    # A manifest would say so; without one nobody is under-trained.
    worse = msgspec.structs.replace(comparison.detectors[1], under_trained=True)
    detectors = [comparison.detectors[0], worse, comparison.detectors[2]]
    warnings = [*comparison.warnings, f"A warning about {HOSTILE}."]
    return msgspec.structs.replace(comparison, detectors=detectors, warnings=warnings), judged


@pytest.fixture(scope="module")
def comparison(both):
    return both[0]


@pytest.fixture(scope="module")
def judged(both):
    return both[1]


@pytest.fixture(scope="module")
def html(comparison, judged, truth):
    costs = {f"{HOSTILE}-0": {HOSTILE: 1.5}, "machine": {HOSTILE: HOSTILE}}
    return page.render(comparison, judged, truth=truth, measurements=costs)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    detector: str
    found: bool
    score: float | None


def test_all_four_files_are_written_and_come_out_the_same_twice(tmp_path, comparison, judged, truth):
    ledger = [Row(detector=HOSTILE, found=False, score=None), Row(detector="=1+1", found=True, score=0.25)]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, comparison, judged, truth=truth, measurements={"x": {"s": 1}}, ledger=ledger)

    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"comparison.json", "comparison.md", "report.html", "ledger.csv"}
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    back = msgspec.json.decode((tmp_path / "a" / "comparison.json").read_bytes(), type=values.Comparison)
    assert back == comparison
    rows = list(csv.reader(io.StringIO((tmp_path / "a" / "ledger.csv").read_text())))
    assert rows == [["detector", "found", "score"], [HOSTILE, "no", ""], ["'=1+1", "yes", "0.25"]]


def test_page_shows_no_rate_without_its_denominator(html, comparison):
    bold = re.findall(r"<td[^>]*><b>([^<]*)</b>(<small>[\d,]+/[\d,]+</small>)?", html)

    assert len(bold) >= 7 * len(comparison.detectors)
    assert all(denominator for _, denominator in bold)
    for d in comparison.detectors:
        for rate in (d.test.fn_rate.rate, d.test.escape_rate.rate, d.test.overkill_rate.rate, d.test.fppi.rate):
            assert f"<small>{wording.fraction(rate)}</small>" in html
        for part in d.slices:
            assert wording.share(part.fn_rate.rate) in html


def test_markdown_shows_no_rate_without_its_denominator(comparison):
    text = markdown.render(comparison, measurements=None)
    outside = re.sub(r"\[[^\]]*\]|95 %", "", text)

    assert re.findall(r"\d\u00a0%", outside)
    assert not re.findall(r"\d\u00a0%(?! \([\d,]+/[\d,]+\))", outside)


def test_markdown_tables_keep_their_columns_whatever_the_names(comparison):
    text = markdown.render(comparison, measurements=None)

    assert "<script>" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("width", [80, 200])
def test_terminal_shows_verdict_counts_pairs_and_warnings(comparison, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_comparison(comparison, console)
    text = console.file.getvalue()

    for d in comparison.detectors:
        assert wording.fraction(d.test.fn_rate.rate) in text
        assert wording.fraction(d.test.fppi.rate) in text
    joined = " ".join(text.split())
    assert joined.index(comparison.verdict[:20]) < joined.index("threshold")
    assert all(" ".join(pair.sentence.split()) in joined for pair in comparison.pairs if pair.outcome != "no_verdict")
    assert comparison.warnings[0] in joined
    assert "under-trained" in joined


def test_the_verdict_is_told_whole_and_once(comparison):
    lead, points = wording.verdict(comparison)
    said = " ".join([lead, *points])

    assert comparison.verdict.startswith(lead)
    assert sorted(said.split()) == sorted(comparison.verdict.split())
    assert all(said.count(pair.sentence) == 1 for pair in comparison.pairs if pair.outcome != "no_verdict")
    short = msgspec.structs.replace(comparison, verdict="No verdict.")
    assert wording.verdict(short) == ("No verdict.", [])


def test_page_loads_nothing_from_anywhere(html):
    marked_up = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    addresses = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']?([^"'\s>]+)""", marked_up)
    addresses += re.findall(r"url\(([^)]*)\)", marked_up) + re.findall(r"@import\s+(\S+)", marked_up)

    assert any(address.startswith("data:image/") for address in addresses)
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert re.findall(r"<script[^>]*>", html) == ['<script type="application/json" id="sweeps">', "<script>"]
    assert "<link" not in html.lower()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'",
        "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip


def test_names_from_data_are_text_on_the_page(html):
    assert "alert(1)" in html
    ways = (
        "&lt;script&gt;alert(1)&lt;/script&gt;|=cmd",
        "&lt;script&gt;alert(1)&lt;/<wbr>script&gt;|=cmd",
        r"\u003cscript\u003ealert(1)\u003c/script\u003e|=cmd",
    )
    assert html.count("alert(1)") == sum(html.count(way) for way in ways)
    assert all(way in html for way in ways)


def test_page_says_how_many_missed_defects_there_are_beyond_those_shown(truth, judged, comparison, monkeypatch):
    monkeypatch.setattr(missed, "MOST_PANELS", 4)
    html = page.render(comparison, judged, truth=truth, measurements=None)
    groups = misses.groups(judged, truth, limit=4)

    assert sum(len(group.shown) for group in groups) == 4
    assert sum(len(group.defects) for group in groups) > 4
    assert "shown, all are in ledger.csv" in html
    for group in groups:
        title = wording.missed_by(group.missed_by, NAMES)
        assert f"{title[0].upper()}{title[1:]}: {len(group.defects)}".replace("<", "&lt;").replace(">", "&gt;") in html


@settings(deadline=None)
@given(limit=st.integers(0, 80))
def test_every_missed_defect_is_in_one_group_and_no_group_hides_another(limit):
    truth, judged = _cached()
    groups = misses.groups(judged, truth, limit=limit)
    missed_rows = np.flatnonzero(~np.all([one.found for one in judged], axis=0))

    assert sorted(row for group in groups for row in group.defects) == missed_rows.tolist()
    shown = [len(group.shown) for group in groups]
    assert sum(shown) == min(limit, len(missed_rows))
    for group, n in zip(groups, shown, strict=True):
        assert group.defects[:n] == group.shown
        assert n == len(group.defects) or n >= max(shown) - 1
        for one in judged:
            assert all(one.found[row] != (one.name in group.missed_by) for row in group.defects)


_CACHE: list[tuple[Dataset, list[Judged]]] = []


def _cached() -> tuple[Dataset, list[Judged]]:
    if not _CACHE:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            truth = surface(Path(folder))
        _CACHE.append((truth, [judge(truth, n, seed=k, skill=0.1 * k, threshold=0.3) for k, n in enumerate(NAMES)]))
    return _CACHE[0]


def test_a_detector_missed_a_defect_when_most_of_its_seeds_did(truth):
    runs = [judge(truth, "a", seed=n, skill=0.2, threshold=0.35) for n in range(3)]
    found = np.sum([run.found for run in runs], axis=0)

    assert (missed_by(runs)["a"] == ((found <= 1) & truth.defects.counts)).all()
    assert (found == 1).sum() + (found == 2).sum() > 0


def test_several_seeds_are_told_apart_in_the_caption(truth, validation):
    field = [contender(name, truth, validation, skill=0.2, seeds=3) for name in "ab"]
    comparison, runs = compared(field, truth)
    html = page.render(comparison, runs, truth=truth, measurements=None)

    assert re.search(r"missed by [23] of 3 seeds; seed 0: ", html)
    assert "Drawn: seed 0." in html
    assert "Counts are summed over seeds" in html


def test_a_picture_that_cannot_be_read_costs_its_card_and_not_the_report(tmp_path, validation):
    truth = surface(tmp_path)
    comparison, judged = compared([contender("a", truth, validation, skill=0.0)], truth)
    row = int(np.flatnonzero(~judged[0].found)[0])
    (tmp_path / truth.images.file[truth.defects.image[row]]).write_bytes(b"not a picture")

    html = page.render(comparison, judged, truth=truth, measurements=None)

    assert "not shown: the picture could not be read" in html
    assert 'class="card"' in html


def test_a_silent_detector_beside_one_that_cannot_keep_the_budget(truth, validation):
    none = Run(seed=0, test=evaluate(truth, Predictions.none()),
               validation=evaluate(validation, Predictions.none()), manifest=None)  # fmt: skip
    loud = [said(split, seed=1, skill=0.2) for split in (truth, validation)]
    loud = [dataclasses.replace(one, score=np.full(len(one), 0.9)) for one in loud]
    shouts = Run(seed=0, test=evaluate(truth, loud[0]), validation=evaluate(validation, loud[1]), manifest=None)
    field = [Contender(name="silent", runs=(none,)), Contender(name="loud", runs=(shouts,))]
    comparison, judged = compared(field, truth, "fppi<=0.1")

    html = page.render(comparison, judged, truth=truth, measurements=None)

    everything = f"100.0\u00a0% ({len(truth.defects)}/{len(truth.defects)})"
    assert html.count(everything) >= 2
    assert "policy unreachable" in html
    assert "nothing overlaps it at any score" in html
    assert "(no threshold)" in html
    assert "policy unreachable" in markdown.render(comparison, measurements=None)


def test_a_fixed_score_is_not_called_chosen(truth, validation):
    comparison, judged = compared([contender("a", truth, validation, skill=0.3)], truth, "score=0.4")
    html = page.render(comparison, judged, truth=truth, measurements=None)

    assert "Thresholds were given" in html
    assert 'id="pairs"' not in html


def test_a_card_names_size_place_and_what_each_detector_made_of_it(truth, judged):
    looks = palette.identities(NAMES)
    runs = {one.name: [one] for one in judged}
    row = int(np.flatnonzero(judged[0].found & ~judged[1].found)[0])
    card = panels.defect_panel(truth, row, runs, looks)
    width, height = truth.defects.box[row][2:] - truth.defects.box[row][:2]

    assert card.size == f"{width:.0f} \u00d7 {height:.0f} px"
    assert card.file == truth.images.file[truth.defects.image[row]]
    assert [fate.found for fate in card.fates] == [bool(one.found[row]) for one in judged]
    assert card.fates[0].text.startswith("found: ")
    limit = judged[0].threshold[truth.defects.label[row]]
    assert f"\u2265 {limit:.2f}" in card.fates[0].text
    assert card.fates[1].text.startswith(str(judged[1].reason[row]).replace("_", " "))
    assert (card.truth.width, card.truth.height) == (width, height)


@given(
    corner=st.tuples(st.floats(0, 500), st.floats(0, 300)),
    size=st.tuples(st.floats(0.5, 500), st.floats(0.5, 300)),
    picture=st.tuples(st.integers(8, 600), st.integers(8, 400)),
    other=st.tuples(st.floats(0, 600), st.floats(0, 400)),
)
def test_the_window_lies_in_the_picture_and_holds_the_defect(corner, size, picture, other):
    x0, y0 = min(corner[0], picture[0] - 0.5), min(corner[1], picture[1] - 0.5)
    box = np.array([x0, y0, min(x0 + size[0], picture[0]), min(y0 + size[1], picture[1])])
    left, top, right, bottom = gallery.window(box, picture, [np.array([*other, other[0] + 5, other[1] + 5])])

    assert 0 <= left < right <= picture[0]
    assert 0 <= top < bottom <= picture[1]
    assert left <= box[0] + 1 and top <= box[1] + 1 and right >= box[2] - 1 and bottom >= box[3] - 1  # noqa: PT018 - one fact


def test_a_cut_holds_the_pixels_of_the_picture(truth):
    box = truth.defects.box[0]
    image = int(truth.defects.image[0])
    crop = gallery.cut(truth, image, box)
    whole = np.array(Image.open(truth.root / truth.images.file[image]))

    assert (crop.pixels[:, :, 0] == whole[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]).all()
    assert gallery.uri(crop).startswith("data:image/png;base64,")


def test_the_outline_of_a_mask_follows_its_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True

    assert set(re.findall(r"M[^M]+", gallery.outline(mask))) == {"M2 1H5", "M2 3H5", "M2 1V3", "M5 1V3"}


TEXT = st.text(max_size=20) | st.sampled_from(["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])


@given(TEXT | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(TEXT))
def test_no_text_cell_starts_a_formula_and_numbers_stay_numbers(value):
    found = ledger_csv.cell(value)

    if isinstance(value, str):
        assert found in (value, f"'{value}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        assert found == "" or float(found) == pytest.approx(value, rel=1e-5)
    else:
        assert not found.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(st.lists(st.tuples(st.none() | st.floats(-3, 3), st.floats(0, 2)), min_size=1, max_size=5))
def test_dots_lie_on_their_axis_in_the_order_of_their_values(pairs):
    look = palette.NEUTRAL
    lanes = [
        dots.Value(identity=look, value=v, interval=None if v is None else values.Interval(
            low=v - h, high=v + h, method=""), text="") for v, h in pairs
    ]  # fmt: skip
    plot = dots.dot_plot([("", "", lanes)], label=str)
    placed = [(v, lane) for (v, _), lane in zip(pairs, plot.rows[0].lanes, strict=True) if v is not None]

    assert 2 <= len(plot.ticks) <= 14
    for _, lane in placed:
        assert 0 <= lane.low <= lane.at <= lane.high <= 100
    ordered = sorted(placed, key=lambda pair: pair[0])
    assert [lane.at for _, lane in ordered] == sorted(lane.at for _, lane in placed)
    assert all(lane.at is None for (v, _), lane in zip(pairs, plot.rows[0].lanes, strict=True) if v is None)


def test_a_froc_path_goes_right_before_it_goes_up():
    curve = values.Curve(fppi=[0.0, 0.5, 1.0], recall=[0.2, 0.2, 0.6])
    look = palette.NEUTRAL
    plot = froc.froc_plot(
        [froc.FrocInput(identity=look, curve=curve, band=None, point=(0.5, 0.2), text="")], images=8, budget=0.25
    )
    at = {tick.label: tick.at for tick in plot.x_ticks}

    assert plot.lines[0].path == f"M0 1000V800H{round(10 * at['1'])}V400H1000"
    assert plot.lines[0].x == at["1/2"]
    assert plot.budget == at["1/4"]
    assert plot.one_false_alarm == at["1/8"]


def test_seven_detectors_differ_in_colour_and_in_marker():
    looks = palette.identities([str(n) for n in range(14)]).values()

    first = list(looks)[:7]
    assert len({look.colour for look in first}) == len({look.marker for look in first}) == 7
    assert len({(look.colour, look.marker) for look in looks}) == 14


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("training_seconds", 393.2, "6 min 33 s"),
        ("training_seconds", 7260.0, "2 h 1 min"),
        ("latency_p50_seconds", 0.0214, "21.4 ms"),
        ("peak_memory_bytes", 3 * 2**29, "1.50 GiB"),
        ("parameters", 2_500_000, "2,500,000"),
        ("deterministic", True, "yes"),
        ("latency_p50_seconds", None, "n/a"),
    ],
)
def test_costs_are_read_in_units(key, value, text):
    assert amount(key, value) == text


def test_costs_go_by_run_and_the_machine_stands_apart():
    found = costs({"machine": {"cores": 2}, "a-0": {"training_seconds": 2.0}, "a-1": {}}, ["a"])

    assert found.heads == (("a-0", "a"), ("a-1", "a"))
    assert found.rows == (("training", ("2 s", "n/a")),)
    assert found.whole == (("machine", "cores 2"),)


def test_an_empty_ledger_keeps_its_header():
    assert ledger_csv.text([]).startswith("detector,seed,split,image,")


@pytest.mark.browser
def test_a_browser_opens_the_page_without_errors_requests_or_sideways_scrolling(tmp_path, html):
    sync_api = pytest.importorskip("playwright.sync_api")
    import shutil

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    path = tmp_path / "report.html"
    path.write_text(html)
    said, asked = [], []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in (1280, 390):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(path.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("document.querySelectorAll('figure.card svg image').length") > 0
            assert tab.title().startswith("Which detector misses the fewest defects")
        browser.close()

    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
