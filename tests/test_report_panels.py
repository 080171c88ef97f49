"""Every panel of the report: drawn when its values are there, n/a with the reason when they are not, never 0."""

import io
import re
from dataclasses import replace as swap

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from defect_detect.evaluation import comparison as values
from defect_detect.report import markdown, page, palette
from defect_detect.report.charts import froc, histogram, pod, square, upset
from defect_detect.report.charts.axis import LogAxis
from defect_detect.report.sections import ranks
from defect_detect.report.terminal import print_comparison
from tests import report_values

NAMES = ("yolo26n", "ssdlite", "classical")
LOOKS = palette.identities(NAMES)
put = msgspec.structs.replace


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    truth = report_values.surface(tmp_path_factory.mktemp("plates"), hostile=False)
    more = report_values.surface(tmp_path_factory.mktemp("more"), seed=8, hostile=False)
    validation = swap(more, split="val", fingerprint="e" * 64)
    field = [
        report_values.contender(name, truth, validation, skill=skill)
        for name, skill in zip(NAMES, (0.5, 0.1, 0.3), strict=True)
    ]
    comparison, _ = report_values.compared(field, truth)
    return report_values.filled(comparison)


def drawn(comparison: values.Comparison) -> str:
    return page.render(comparison, [], truth=None, measurements=None)


def bare(d: values.Detector, *fields: str) -> values.Detector:
    """The detector without these optional values."""
    nothing = {
        "pod": [], "lrp": None, "calibration": None, "attribute_agreement": None, "expected_cost": None,
        "localization_slices": [], "sweep": None, "slices": [], "mask_ap": None,
        "froc": put(d.froc, band=None, score_interval=None, lamr=None, lamr_class_mean=None),
        "localization": put(d.localization, iou_histogram=[], boundary_iou_mean=None, mask_iou_mean=None),
    }  # fmt: skip
    return put(d, **{field: nothing[field] for field in fields})


OPTIONAL = (
    "pod", "lrp", "calibration", "attribute_agreement", "expected_cost", "localization_slices", "sweep", "slices",
    "mask_ap", "froc", "localization",
)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("pod", "n/a: this comparison holds no probability of detection."),
        ("lrp", "n/a: this comparison holds no LRP."),
        ("calibration", "n/a: this comparison holds no calibration."),
        ("attribute_agreement", "n/a: this comparison holds no attribute agreement."),
        ("expected_cost", "n/a, no costs and prevalence were given."),
        ("sweep", "n/a: this comparison holds no sweep over thresholds."),
        ("slices", "n/a: this comparison holds no parts."),
        ("froc", "Bands: n/a, this comparison holds none."),
        ("localization", "Distributions of IoU: n/a, this comparison holds none."),
    ],
)
def test_a_panel_without_values_says_so_and_with_values_does_not(full, field, sentence):
    without = put(full, detectors=[bare(d, field) for d in full.detectors])

    assert sentence in drawn(without)
    assert sentence not in drawn(full)


def test_panels_that_only_some_comparisons_have_are_left_out(full):
    without = drawn(put(full, adjudication=None, rank_stability={}, rank_misses={}, pairs=[]))

    for part in ('id="review"', 'id="ranks"', 'id="pairs"', "Difference in IoU on common hits"):
        assert part in drawn(full)
        assert part not in without


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.sampled_from(OPTIONAL)), min_size=3, max_size=3))
def test_any_detector_may_lack_any_value(full, missing):
    detectors = [bare(d, *fields) for d, fields in zip(full.detectors, missing, strict=True)]
    html = drawn(put(full, detectors=detectors))

    ids = set(re.findall(r'id="([a-z]+)"', html))
    assert set(re.findall(r'href="#([a-z]+)"', html)) <= ids
    shown = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.findall(r">\s*(None|nan|inf)\b", shown)
    assert "None%" not in shown
    assert "nan" not in re.findall(r'(?:x|y|cx|width|height|d)="([^"]*)"', shown)


def test_a_detector_without_hits_or_a_threshold_has_reasons_and_no_zeros(full):
    nothing = values.Rate(count=0, of=0)
    empty = values.Estimate(rate=nothing)
    first = full.detectors[0]
    located = values.Localization(
        hits=0, iou_mean=None, iou_median=None, iou_p05=None, share_075=nothing, centre_offset_px=None,
        centre_offset_relative=None, width_ratio=None, height_ratio=None, mask_iou_mean=None,
    )  # fmt: skip
    point = put(first.operating_point, status="unreachable", thresholds=[None], validation=None)
    figures = values.Figures(**dict.fromkeys(values.Figures.__struct_fields__, empty))
    lost = put(first, localization=located, operating_point=point, test=figures, sweep=None)
    html = drawn(put(full, detectors=[lost, *full.detectors[1:]]))
    rows = re.findall(r"<tr><th><span class=\"who\">.*?</tr>", html, re.DOTALL)
    lead = next(row for row in rows if "policy unreachable" in row and "flag" in row)
    placed = next(row for row in rows if "no hits" in row and "px" not in row)

    assert lead.count("policy unreachable") == 6
    assert "0/0" not in lead
    assert not re.findall(r"\b0\.0", lead)
    assert placed.count("n/a") == placed.count("no hits") == 8
    assert "no predictions on validation" in html


def test_pod_draws_curve_bound_bins_and_marks(full):
    html = drawn(full)

    assert "a90 " in html
    assert "Not estimable: separation: every defect over 12 px was found and none under it" in html
    assert html.count('aria-label="Probability of detection of ') == 3
    first = full.detectors[0].pod[0]
    for bin_ in first.bins:
        assert f"found {100 * bin_.found.count / bin_.found.of:.1f}\u00a0% ({bin_.found.count}/{bin_.found.of})" in html


def test_pod_marks_lie_where_their_sizes_are_and_nowhere_else():
    one = report_values.pod()
    plot = pod.pod_plot([(LOOKS["yolo26n"], one), (LOOKS["ssdlite"], report_values.pod(status="not_estimable"))])
    axis = LogAxis(low=4, high=60)

    assert plot.panels[0].a90 == pytest.approx(axis.place(one.a90), abs=0.01)
    assert plot.panels[0].a90 < plot.panels[0].a90_95
    assert plot.panels[1].path == plot.panels[1].bound == ""
    assert plot.panels[1].a90 is None
    assert plot.panels[1].others == (plot.panels[0].path,)
    far = put(one, a90_95=1e4)
    assert pod.pod_plot([(LOOKS["yolo26n"], far)]).panels[0].a90_95 is None
    nowhere = put(one, size=[], pod=[], low=[], bins=[])
    assert pod.pod_plot([(LOOKS["yolo26n"], nowhere)]).x_ticks == ()


@given(st.floats(1e-3, 1e5), st.floats(1.01, 1e4))
def test_a_log_axis_has_few_rising_ticks_inside(low, ratio):
    ticks = LogAxis(low=low, high=low * ratio).ticks()
    places = [tick.at for tick in ticks]

    assert places == sorted(set(places))
    assert all(0 <= place <= 100 for place in places)
    assert len(places) <= 6 or ratio > 1e4
    assert all(low * 0.99 <= float(tick.label) <= low * ratio * 1.01 for tick in ticks)


def as_subsets(counts):
    return [values.Subset(missed_by=[n for n in NAMES if n in who], count=k) for who, k in counts.items()]


subsets = st.dictionaries(
    st.frozensets(st.sampled_from(NAMES)), st.integers(0, 50), min_size=1
).map(as_subsets)  # fmt: skip


@given(subsets, st.integers(1, 8))
def test_the_upset_plot_accounts_for_every_defect(found, most):
    of = sum(subset.count for subset in found)
    nothing = values.Rate(count=0, of=0)
    agreement = values.Agreement(of=of, subsets=found, union_fn_rate=nothing, union_fppi=nothing)
    plot = upset.upset(agreement, LOOKS, most=most)

    assert sum(row.rate.count for row in plot.rows) + plot.left_out[1] + plot.found.count == of
    assert len(plot.rows) <= most
    counts = [row.rate.count for row in plot.rows]
    assert counts == sorted(counts, reverse=True)
    for look, total, _ in plot.totals:
        assert total.count == sum(s.count for s in found if look.name in s.missed_by)
    for row in plot.rows:
        places = [k for k, cell in enumerate(row.cells) if cell.member]
        inside = [k for k, cell in enumerate(row.cells) if cell.left or cell.right]
        assert inside == (list(range(places[0], places[-1] + 1)) if len(places) > 1 else [])


def test_parts_tell_false_alarms_where_a_part_can_have_them_and_n_a_elsewhere(full):
    first = full.detectors[0]
    some = values.Estimate(rate=values.Rate(count=3, of=24))
    none = values.Estimate(rate=values.Rate(count=0, of=0))
    kinds = [
        values.Slice(by="class", value="pit", fn_rate=some, fppi=some),
        values.Slice(by="line", value="B", fn_rate=none, fppi=some, escape_rate=some, overkill_rate=none),
        values.Slice(by="size", value="small", fn_rate=some),
    ]
    html = drawn(put(full, detectors=[put(first, slices=kinds), *(bare(d, "slices") for d in full.detectors[1:])]))
    table = html[html.index("<summary>False alarms, escape and overkill by part") : html.index('id="pod"')]
    rows = re.findall(r"<tr><th>(\w+: \w+)</th>(.*?)</tr>", table)

    assert [name for name, _ in rows] == ["class: pit", "line: B"]
    assert rows[0][1].count("not a figure by class") == 2
    assert "no defects" in rows[1][1]
    assert "no defect-free units" in rows[1][1]
    assert "0/0" not in table


def test_thresholds_by_class_are_listed_and_said_to_differ_from_the_sliders(full):
    first = full.detectors[0]
    point = put(first.operating_point, by_class=[{"scratch": 0.25, "pit": None, "stain": 0.5}])
    protocol = put(full.protocol, per_class=True, sizes=[2.0, 5.0], costs={"escape": 100.0}, geometry="mask")
    own = [put(first, operating_point=point), *full.detectors[1:]]
    html = drawn(put(full, detectors=own, protocol=protocol))

    assert "<h3>Thresholds by class</h3>" in html
    assert re.search(r"<th>pit</th><td>silent</td>", html)
    assert "one for all classes" in html
    assert "by class, from " in html
    assert "while the frozen thresholds differ by class" in html
    assert "bins of the long side with edges at 2, 5 px" in html
    assert "mask IoU \u2265 0.5" in html
    assert "escape 100" in html
    assert "<h3>Thresholds by class</h3>" not in drawn(full)


def test_ranks_are_shared_by_equals_and_moves_are_marked(full):
    misses = {"IoU 0.1": dict(zip(NAMES, (5.0, 3.0, 3.0), strict=True)),
              "IoU 0.5": dict(zip(NAMES, (5.0, 7.0, 9.0), strict=True))}  # fmt: skip
    order = {rule: sorted(NAMES, key=found.__getitem__) for rule, found in misses.items()}
    found = ranks.ranks(put(full, rank_misses=misses, rank_stability=order), LOOKS)
    rows = dict(found.rows)

    assert found.usual == "IoU 0.5"
    assert found.stable is False
    assert [place.rank for place in rows["IoU 0.1"]] == [3, 1, 1]
    assert [place.moved for place in rows["IoU 0.1"]] == [True, True, True]
    assert not any(place.moved for place in rows["IoU 0.5"])
    unknown = ranks.ranks(put(full, rank_misses={}, rank_stability={"centre in box": list(NAMES[:2])}), LOOKS)
    assert unknown.usual is unknown.stable is None
    assert [place.rank for place in unknown.rows[0][1]] == [1, 2, None]


def test_the_order_is_called_stable_only_when_it_is(full):
    assert "The order changes" in drawn(full)
    same = {rule: list(NAMES) for rule in full.rank_stability}
    html = drawn(put(full, rank_misses={}, rank_stability=same))
    assert "The order is the same under every rule." in html


def test_histograms_share_a_scale_and_begin_under_the_first_hit():
    bins = [[0] * 10 + [0, 2, 0, 6, 0, 0, 0, 0, 0, 0], [0] * 12 + [1, 1, 1, 1, 0, 0, 0, 0]]
    start = histogram.start_of(bins)
    first, second = histogram.histograms(
        [(LOOKS["yolo26n"], bins[0], 0.66), (LOOKS["ssdlite"], bins[1], None)], start=start, name="IoU"
    )

    assert start == 0.5
    assert first.bars[0].x == pytest.approx(10)
    assert [bar.height for bar in first.bars] == pytest.approx([100 / 3, 100], abs=0.01)
    assert [bar.height for bar in second.bars] == pytest.approx([100 / 3] * 4, abs=0.01)
    assert first.median == pytest.approx(32)
    assert second.median is None
    assert histogram.start_of([[0] * 20]) == 0


def test_points_of_a_square_plot_lie_by_their_shares():
    plot = square.square([(LOOKS["yolo26n"], [(0.0, 0.0, "a"), (0.5, 0.25, "b"), (1.0, 1.0, "")])])

    assert plot.lines[0].path == "M0 1000L500 750L1000 0"
    assert [(dot.x, dot.y) for dot in plot.lines[0].dots] == [(0, 100), (50, 75)]
    assert plot.diagonal == "M0 1000L1000 0"


def test_the_band_of_a_froc_curve_encloses_it_and_a_long_curve_stays_short():
    n = 200_000
    fppi = np.sort(np.random.default_rng(0).random(n) * 20)
    curve = values.Curve(fppi=fppi.tolist(), recall=np.linspace(0, 0.9, n).tolist())
    band = report_values.froc_band(curve)
    one = froc.FrocInput(identity=LOOKS["yolo26n"], curve=curve, band=band, point=None, text="")
    line = froc.froc_plot([one], images=100, budget=0.1).lines[0]

    assert len(line.path) < 20_000
    places = [tuple(map(int, point.split())) for point in line.band.strip("MZ").split("L")]
    half = len(places) // 2
    assert [x for x, _ in places[:half]] == [x for x, _ in reversed(places[half:])]
    assert all(low >= high for (_, low), (_, high) in zip(places[:half], reversed(places[half:]), strict=True))


def test_a_band_stands_in_the_page_for_each_detector(full):
    assert drawn(full).count('fill-opacity=".13"') == 3


def test_review_shows_both_rates_and_says_when_it_is_optimistic(full):
    html = drawn(full)

    assert "Reviewed misses only, optimistic." in html
    for one in full.adjudication.detectors:
        for rate in (one.before.rate, one.after.rate, one.false_alarms_before, one.false_alarms_after):
            assert f"<small>{rate.count}/{rate.of}</small>" in html
    fair = put(full.adjudication, optimistic=False)
    assert "optimistic" not in drawn(put(full, adjudication=fair))


def test_terminal_and_markdown_tell_the_further_figures_shortly(full):
    console = Console(width=200, file=io.StringIO(), color_system=None)
    print_comparison(full, console)
    said = " ".join(console.file.getvalue().split())
    text = " ".join(markdown.render(full, measurements=None).split())
    after = full.adjudication.detectors[0].after.rate

    assert "a90/95 by long side: yolo26n 32 px, ssdlite 39.1 px, classical not estimable" in text
    share = f"{100 * after.count / after.of:.1f} % ({after.count}/{after.of})"
    lines = (
        "oLRP: yolo26n 0.600, ssdlite 0.620, classical 0.640",
        "expected cost per unit: yolo26n 1.500, ssdlite n/a, classical 3.500",
        f"FN rate after review (reviewed misses only, optimistic): yolo26n {share}",
    )
    for found in lines:
        assert found in text
        assert " ".join(found.split()) in said
    assert re.search(r"union coverage \| ssdlite 98, yolo26n 100, classical 114", text)
    nothing = put(full, adjudication=None, detectors=[bare(d, *OPTIONAL) for d in full.detectors])
    assert "a90" not in markdown.render(nothing, measurements=None)


def test_no_two_sections_share_an_id(full):
    ids = re.findall(r'\bid="([^"]+)"', drawn(full))

    assert len(ids) == len(set(ids))
