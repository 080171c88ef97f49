"""What a comparison leaves for people: every rate with its denominator, nothing from data run, the same bytes."""

import csv
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from defect_detect.evaluation import comparison as values
from defect_detect.evaluation import missed
from defect_detect.evaluation.froc import froc
from defect_detect.evaluation.judged import Judged
from defect_detect.evaluation.matching import evaluate
from defect_detect.report import charts, gallery, ledger_csv, markdown, misses, page, palette, panels, wording
from defect_detect.report.costs import amount, costs
from defect_detect.report.terminal import print_comparison
from defect_detect.report.write import write
from defect_detect.tables import Category, Dataset, Defects, Images, Predictions

HOSTILE = "<script>alert(1)</script>|=cmd"
NAMES = ("yolo26n", "ssdlite", HOSTILE)


def surface(root: Path, *, pictures: int = 12, hostile: bool = True) -> Dataset:
    """Grey plates with dark blots; every third one without."""
    rng = np.random.default_rng(7)
    classes = ("scratch", HOSTILE if hostile else "pit", "stain")
    image, label, box, files = [], [], [], []
    for n in range(pictures):
        plate = rng.normal(150, 6, (120, 160)).clip(0, 255).astype(np.uint8)
        for _ in range(0 if n % 3 == 0 else 4):
            width, height = rng.integers(6, 30, 2)
            x, y = rng.integers(0, 160 - width), rng.integers(0, 120 - height)
            plate[y : y + height, x : x + width] -= 60
            image.append(n)
            label.append(int(rng.integers(len(classes))))
            box.append([x, y, x + width, y + height])
        files.append(f"plate {n:02}.png")
        Image.fromarray(plate).save(root / files[-1])
    boxes = np.array(box, float)
    of = len(image)
    return Dataset(
        root=root,
        split="test",
        categories=tuple(Category(id=k + 1, name=name, source_id=k) for k, name in enumerate(classes)),
        images=Images(
            file=tuple(files),
            id=np.arange(1, pictures + 1),
            size=np.tile(np.array([160, 120]), (pictures, 1)),
            group=np.array(files),
            source_id=tuple(range(pictures)),
        ),
        defects=Defects(
            image=np.array(image),
            label=np.array(label),
            box=boxes,
            area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            crowd=np.zeros(of, bool),
            ignore=np.zeros(of, bool),
            region=None,
            id=np.arange(1, of + 1),
            source_id=tuple(range(of)),
        ),
        fingerprint="f" * 64,
    )


def said(truth: Dataset, *, seed: int, skill: float) -> Predictions:
    """Shaken ground truth, some of it left out or under another label, and false alarms; a bit by size."""
    rng = np.random.default_rng(seed)
    defects = truth.defects
    ease = np.sqrt(defects.area / defects.area.max()) + skill + rng.normal(0, 0.35, len(defects))
    kept = ease > 0.1
    shake = rng.normal(0, 0.12, (len(defects), 4)) * np.sqrt(defects.area)[:, None]
    label = np.where(rng.random(len(defects)) < 0.08, rng.integers(len(truth.categories), size=len(defects)),
                     defects.label)  # fmt: skip
    size = truth.images.size.astype(float)
    alarms = rng.integers(len(truth.images), size=len(truth.images))
    corner = rng.random((len(alarms), 2)) * size[alarms] * 0.8
    near = (defects.box + shake)[kept]
    box = np.concatenate([near, np.concatenate([corner, corner + size[alarms] * 0.1], axis=1)])
    image = np.concatenate([defects.image[kept], alarms])
    low = np.minimum(np.clip(box[:, :2], 0, None), size[image] - 3)
    return Predictions(
        image=image,
        label=np.concatenate([label[kept], rng.integers(len(truth.categories), size=len(alarms))]),
        box=np.concatenate([low, np.minimum(np.maximum(box[:, 2:], low + 2), size[image])], axis=1),
        score=np.concatenate([np.clip(ease[kept] / 1.6, 0.01, 0.99), rng.beta(1, 5, len(alarms))]),
    )


def judge(truth: Dataset, name: str, *, seed: int, skill: float, threshold: float) -> Judged:
    """A stand-in for the judge: real matching, reasons as far as the pictures need them."""
    evaluation = evaluate(truth, said(truth, seed=seed, skill=skill))
    matching = evaluation.matching
    found = matching.found_at >= threshold
    other = np.where(evaluation.any_class.found_at >= threshold, "misclassified", "unseen")
    reason = np.where(np.isfinite(matching.found_at), "below_threshold", other)
    return Judged(
        name=name,
        seed=seed,
        evaluation=evaluation,
        threshold=np.full(len(truth.categories), threshold),
        found=found,
        reason=np.where(found, "", reason),
        candidate=matching.prediction_of,
        outcome=np.where(matching.defect_of >= 0, "hit", "background"),
    )


def _estimate(rate: values.Rate, *, counted: bool = False) -> values.Estimate:
    p = rate.value or 0.0
    half = 1.96 * max(float(np.sqrt(p * (1 if counted else 1 - p) / max(rate.of, 1))), 0.01)
    found = values.Interval(low=max(p - half, 0), high=p + half if counted else min(p + half, 1), method="bootstrap")
    return values.Estimate(rate=rate, this_threshold=found, this_policy=found)


def _detector(judged: Judged, *, under_trained: bool) -> values.Detector:
    evaluation, truth = judged.evaluation, judged.evaluation.truth
    rates = missed.rates(missed.scored(evaluation), judged.threshold)
    figures = values.Figures(**{k: _estimate(v, counted=k.startswith("fppi")) for k, v in rates.items()})
    slices = []
    for by, column in (("class", truth.defects.label), ("size", np.digitize(truth.defects.area, (150, 400)))):
        texts = [c.name for c in truth.categories] if by == "class" else ["small", "medium", "large"]
        slices += [
            values.Slice(
                by=by, value=texts[k],
                fn_rate=_estimate(values.Rate(count=int((~judged.found & (column == k)).sum()),
                                              of=int((column == k).sum()))),
            )
            for k in np.unique(column)
        ]  # fmt: skip
    reasons, counts = np.unique(judged.reason[~judged.found], return_counts=True)
    overlap = evaluation.matching.iou[judged.found]
    return values.Detector(
        name=judged.name, framework="torchvision", model="m", family="f", seeds=[judged.seed],
        operating_point=values.OperatingPoint(
            policy="fppi<=0.1", status="ok", thresholds=[float(judged.threshold[0])], censored=False, notes=[],
            validation=figures),
        test=figures, froc=froc(evaluation),
        box_ap=values.AveragePrecision(ap=0.41, ap50=0.702, ap75=0.4, ap_small=None, ap_medium=0.5, ap_large=0.6,
                                       ar1=0.3, ar10=0.5, ar100=0.5),
        mask_ap=None,
        localization=values.Localization(
            hits=len(overlap), iou_mean=float(overlap.mean()), iou_median=float(np.median(overlap)), iou_p05=0.5,
            share_075=values.Rate(count=int((overlap > 0.75).sum()), of=len(overlap)), centre_offset_px=1.2,
            centre_offset_relative=0.06, width_ratio=1.01, height_ratio=0.98, mask_iou_mean=None),
        miss_reasons=dict(zip(reasons.tolist(), counts.tolist(), strict=True)),
        false_alarm_reasons={"background": 5, "duplicate": 2}, slices=slices, under_trained=under_trained,
        measured={"input size": "long side 320", "epochs": 60, "initial weights": "none"}, notes=[],
    )  # fmt: skip


def compared(judged: list[Judged], truth: Dataset) -> values.Comparison:
    """A stand-in for `compare`: counts are the judges', intervals made up."""
    names = [one.name for one in judged]
    who: dict[tuple[str, ...], int] = {}
    for row in range(len(truth.defects)):
        key = tuple(one.name for one in judged if not one.found[row])
        who[key] = who.get(key, 0) + 1
    pairs = []
    for n, a in enumerate(judged):
        for b in judged[n + 1 :]:
            d = float((~a.found).mean() - (~b.found).mean())
            span = values.Interval(low=d - 0.05, high=d + 0.05, method="bootstrap")
            flat = values.Difference(value=0.01, interval=values.Interval(low=-0.02, high=0.04, method="bootstrap"))
            pairs.append(
                values.Pair(
                    a=a.name, b=b.name, fn_rate=values.Difference(value=d, interval=span, p=0.01, p_holm=0.02),
                    mcnemar_p=0.004, fppi=flat, partial_froc=flat, matched_budget=True, outcome="b",
                    both_found=int((a.found & b.found).sum()), only_a_found=int((a.found & ~b.found).sum()),
                    only_b_found=int((~a.found & b.found).sum()), both_missed=int((~a.found & ~b.found).sum()),
                    common_hits=12, localization=flat, smallest_detectable=0.06, defects_needed=900,
                    sentence=f"{b.name} misses fewer defects than {a.name}.",
                )
            )  # fmt: skip
    splits = {"train": 40, "val": 12, "test": len(truth.images)}
    free = int(truth.defect_free.sum())
    return values.Comparison(
        verdict=f"Of these trained models, {names[0]} misses the fewest defects: {int((~judged[0].found).sum())} of "
        f"{len(truth.defects)} at the same number of false alarms.",
        warnings=["The budget of 0.1 FPPI on 12 validation images is about one false alarm: the threshold is rough."],
        dataset=values.DatasetFacts(
            name="plates", fingerprints={"test": truth.fingerprint}, categories=[c.name for c in truth.categories],
            images=splits, units=splits, defective={"test": len(truth.images) - free}, defect_free={"test": free},
            defects={"test": len(truth.defects)}, masks=truth.has_masks, quarantined={"no picture": 2},
            scale=truth.scale, unit=truth.unit),
        protocol=values.Protocol(policy="fppi<=0.1", iou=0.5, class_aware=True, resamples=2000, seed=0, budget=0.1,
                                 versions={"python": "3.11.2", "defect_detect": "0.1.0"}),
        detectors=[_detector(one, under_trained=n == 1) for n, one in enumerate(judged)], pairs=pairs,
        agreement=values.Agreement(
            of=len(truth.defects),
            subsets=[values.Subset(missed_by=list(key), count=n) for key, n in who.items()],
            union_fn_rate=values.Rate(count=who.get(tuple(names), 0), of=len(truth.defects)),
            union_fppi=values.Rate(count=4, of=len(truth.images))),
        rank_stability={"IoU 0.1": names, "IoU 0.5": names[::-1]},
        suspects=values.Suspects(missed_by_all=[], alarmed_by_all=[
            values.Place(image=truth.images.file[0], box=[10.0, 10.0, 40.0, 30.0], category=truth.categories[0].name)]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return surface(tmp_path_factory.mktemp("plates"))


@pytest.fixture(scope="module")
def judged(truth):
    skills = zip(NAMES, (0.5, 0.1, 0.3), (0.35, 0.4, 0.3), strict=True)
    return [judge(truth, name, seed=n, skill=s, threshold=t) for n, (name, s, t) in enumerate(skills)]


@pytest.fixture(scope="module")
def comparison(judged, truth):
    return compared(judged, truth)


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
    assert comparison.pairs[0].sentence in joined
    assert comparison.warnings[0] in joined
    assert "under-trained" in joined


def test_page_loads_nothing_from_anywhere(html):
    addresses = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']?([^"'\s>]+)""", html)
    addresses += re.findall(r"url\(([^)]*)\)", html) + re.findall(r"@import\s+(\S+)", html)

    assert any(address.startswith("data:image/") for address in addresses)
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "<script" not in html.lower()
    assert "<link" not in html.lower()


def test_names_from_data_are_text_on_the_page(html):
    assert "alert(1)" in html
    assert html.count("alert(1)") == html.count("&lt;script&gt;alert(1)&lt;/script&gt;|=cmd") + html.count(
        "&lt;script&gt;alert(1)&lt;/<wbr>script&gt;|=cmd"
    )


def test_page_says_how_many_missed_defects_there_are_beyond_those_shown(truth, judged, comparison, monkeypatch):
    monkeypatch.setattr(page, "MOST_PANELS", 4)
    html = page.render(comparison, judged, truth=truth, measurements=None)
    groups = misses.groups(judged, truth, limit=4)

    assert sum(len(group.shown) for group in groups) == 4
    assert sum(len(group.defects) for group in groups) > 4
    assert "shown, all are in ledger.csv" in html
    for group in groups:
        title = wording.missed_by(group.missed_by, NAMES)
        assert f"{title[0].upper()}{title[1:]}: {len(group.defects)}".replace("<", "&lt;").replace(">", "&gt;") in html


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

    assert (misses.missed_by_majority(runs)["a"] == (found <= 1)).all()
    assert (found == 1).sum() + (found == 2).sum() > 0


def test_several_seeds_are_told_apart_in_the_caption(truth, comparison):
    runs = [judge(truth, name, seed=n, skill=0.2, threshold=0.35) for name in NAMES for n in range(3)]
    html = page.render(comparison, runs, truth=truth, measurements=None)

    assert re.search(r"missed by [23] of 3 seeds; seed 0: ", html)


def test_a_picture_that_cannot_be_read_costs_its_card_and_not_the_report(tmp_path):
    truth = surface(tmp_path, hostile=False)
    judged = [judge(truth, "a", seed=0, skill=0.0, threshold=0.4)]
    row = int(np.flatnonzero(~judged[0].found)[0])
    (tmp_path / truth.images.file[truth.defects.image[row]]).write_bytes(b"not a picture")

    html = page.render(compared(judged, truth), judged, truth=truth, measurements=None)

    assert "not shown: the picture could not be read" in html
    assert 'class="card"' in html


def test_a_silent_detector_and_an_unreachable_policy_are_said_in_words(truth):
    base = judge(truth, "silent", seed=0, skill=0.2, threshold=0.4)
    evaluation = evaluate(truth, Predictions.none())
    nobody = np.full(len(truth.defects), -1)
    silent = Judged(
        name="silent", seed=0, evaluation=evaluation, threshold=np.full(3, np.inf),
        reason=np.full(len(nobody), "unseen"),
        found=np.zeros(len(nobody), bool), candidate=nobody, outcome=np.zeros(0, "<U1"),
    )  # fmt: skip
    found = compared([base], truth)
    nothing = values.Curve(fppi=[], recall=[])
    detector = msgspec.structs.replace(
        found.detectors[0],
        operating_point=msgspec.structs.replace(
            found.detectors[0].operating_point, thresholds=[None], status="unreachable", validation=None
        ),
        froc=values.Froc(curve=nothing, recall_at={}, score=None, score_interval=None, lamr=1.0),
        miss_reasons={},
    )  # fmt: skip
    comparison = msgspec.structs.replace(found, detectors=[detector])

    html = page.render(comparison, [silent], truth=truth, measurements=None)

    assert "policy unreachable" in html
    assert "nothing overlaps it at any score" in html
    assert "policy unreachable" in markdown.render(comparison, measurements=None)


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
    assert "\u2265 0.35" in card.fates[0].text
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
        charts.Value(identity=look, value=v, interval=None if v is None else values.Interval(
            low=v - h, high=v + h, method=""), text="") for v, h in pairs
    ]  # fmt: skip
    plot = charts.dot_plot([("", "", lanes)], label=str)
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
    plot = charts.froc_plot([(look, curve, (0.5, 0.2), "")], images=8, budget=0.25)
    at = {tick.label: tick.at for tick in plot.x_ticks}

    assert plot.lines[0].path == f"M0 1000V800H{10 * at['1']:g}V400H1000"
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
