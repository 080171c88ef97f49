"""The page's sliders: they show what the evaluator counts, from data that can't break out of the page."""

import json
import shutil
from dataclasses import replace as swap

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defect_detect.errors import Unreachable
from defect_detect.evaluation import comparison as values
from defect_detect.evaluation import per_class
from defect_detect.evaluation.judged import Contender, Run
from defect_detect.evaluation.matching import evaluate
from defect_detect.evaluation.missed import rates, scored
from defect_detect.evaluation.operating import parse_policy
from defect_detect.report import page
from defect_detect.report.sections import explorer
from defect_detect.tables import Predictions
from tests import report_values

NASTY = "</script><script>alert(1)</script><!--\u2028]]>&"
NAMES = ("steady", NASTY, "silent")
put = msgspec.structs.replace
FIGURES = {"fn": "fn_rate", "fppi": "fppi", "escape": "escape_rate", "overkill": "overkill_rate"}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    truth = report_values.surface(tmp_path_factory.mktemp("plates"))
    more = report_values.surface(tmp_path_factory.mktemp("more"), seed=8)
    validation = swap(more, split="val", fingerprint="e" * 64)
    none = Run(seed=0, test=evaluate(truth, Predictions.none()),
               validation=evaluate(validation, Predictions.none()), manifest=None)  # fmt: skip
    return truth, [
        report_values.contender("steady", truth, validation, skill=0.4),
        report_values.contender(NASTY, truth, validation, skill=0.1, seeds=3),
        Contender(name="silent", runs=(none,)),
    ]


@pytest.fixture(scope="module")
def comparison(field):
    truth, contenders = field
    return report_values.compared(contenders, truth)[0]


@pytest.fixture(scope="module")
def address(comparison, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(comparison, [], truth=None, measurements=None), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def tab(browser, address):
    """A tab on the page, which must stay silent and ask for nothing."""
    said, asked = [], []
    found = browser.new_page(viewport={"width": 1280, "height": 900})
    found.on("console", lambda message: said.append(message.text))
    found.on("pageerror", lambda error: said.append(str(error)))
    found.on("dialog", lambda dialog: said.append(dialog.message))
    found.on("request", lambda request: asked.append(request.url))
    found.goto(address)
    yield found
    found.close()
    assert said == []
    assert asked == [address]


def counted(contender: Contender, threshold: float) -> dict[str, str]:
    """What the evaluator counts at a threshold, over all seeds, as `count/of`."""
    found = [
        rates(scored(run.test), np.full(len(run.test.truth.categories), threshold)) for run in contender.runs
    ]  # fmt: skip
    return {
        short: f"{sum(one[name].count for one in found):,}/{sum(one[name].of for one in found):,}"
        for short, name in FIGURES.items()
    }


def shown(tab, place: int) -> dict[str, str]:
    return {
        name: tab.text_content(f'[data-row="{place}"] [data-figure="{name}"] small:not(.was)') for name in FIGURES
    }  # fmt: skip


def slide(tab, selector: str, value: int) -> None:
    tab.eval_on_selector(
        selector, "(it, value) => { it.value = value; it.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


@pytest.mark.browser
def test_the_sliders_of_scores_show_what_the_evaluator_counts(tab, field):
    for place, contender in enumerate(field[1][:2]):
        most = int(tab.get_attribute(f"#score-{place}", "max"))
        for at in sorted({0, 1, most // 3, most // 2, most - 1}):
            slide(tab, f"#score-{place}", at)
            threshold = tab.get_attribute(f'[data-row="{place}"]', "data-threshold")
            assert shown(tab, place) == counted(contender, float(threshold))
        slide(tab, f"#score-{place}", most)
        assert shown(tab, place) == counted(contender, np.inf)
        assert tab.is_checked('[name="setting"][value="score"]')
    assert tab.text_content('[data-row="2"] .why') == "no prediction at any score"
    assert shown(tab, 2) == counted(field[1][2], np.inf)


@pytest.mark.browser
def test_a_budget_gives_each_detector_the_lowest_score_that_keeps_it_on_validation(tab, field, comparison):
    budgets = json.loads(tab.text_content("#sweeps"))["budgets"]
    for at, budget in enumerate(budgets):
        slide(tab, "#budget", at)
        for place, (contender, detector) in enumerate(zip(field[1], comparison.detectors, strict=True)):
            sweep = detector.sweep
            kept = [t for t, fppi in zip(sweep.threshold, sweep.validation_fppi, strict=True) if fppi <= budget]
            assert shown(tab, place) == counted(contender, min(kept, default=np.inf))
            said = tab.text_content(f'[data-row="{place}"] output')
            assert said == (f"{min(kept):.3f}" if kept else "none")
    assert comparison.protocol.budget in budgets


@pytest.mark.browser
def test_percentages_are_those_of_the_static_report(tab, field):
    from defect_detect.report import wording

    most = int(tab.get_attribute("#score-0", "max"))
    for at in range(0, most, 3):
        slide(tab, "#score-0", at)
        threshold = float(tab.get_attribute('[data-row="0"]', "data-threshold"))
        run = field[1][0].runs[0]
        found = rates(scored(run.test), np.full(3, threshold))
        for short, name in FIGURES.items():
            text = wording.number(found[name].value) if short == "fppi" else wording.percent(found[name].value)
            assert tab.text_content(f'[data-row="0"] [data-figure="{short}"] b') == text


@pytest.mark.browser
def test_the_page_begins_and_ends_with_the_frozen_figures(tab, comparison):
    def expected(d):
        return {short: f"{getattr(d.test, name).rate.count:,}/{getattr(d.test, name).rate.of:,}"
                for short, name in FIGURES.items()}  # fmt: skip

    assert [shown(tab, k) for k in range(3)] == [expected(d) for d in comparison.detectors]
    slide(tab, "#budget", 0)
    assert shown(tab, 0) != expected(comparison.detectors[0])
    tab.check('[name="setting"][value="frozen"]')
    assert [shown(tab, k) for k in range(3)] == [expected(d) for d in comparison.detectors]
    slide(tab, "#score-0", 3)
    assert tab.is_checked('[name="setting"][value="score"]')
    assert not tab.is_visible("text=needs scripts")


@pytest.mark.browser
def test_sliders_go_by_keyboard_and_tell_what_they_stand_for(tab):
    tab.focus("#budget")
    before = tab.input_value("#budget")
    tab.keyboard.press("ArrowRight")

    assert int(tab.input_value("#budget")) == int(before) + 1
    said = tab.get_attribute("#budget", "aria-valuetext")
    assert said.endswith("false alarms per image on validation")
    assert tab.text_content("#budget-value") == said.split()[0]
    assert said.split()[0] in tab.text_content("#setting")
    tab.focus("#score-1")
    tab.keyboard.press("Home")
    assert tab.get_attribute("#score-1", "aria-valuetext").startswith("score at least 0.")
    labelled = "Array.from(document.querySelectorAll('#explore input')).every(it => it.labels.length === 1)"
    assert tab.evaluate(labelled)
    assert tab.get_attribute("#setting", "role") == "status"


@pytest.mark.browser
def test_marks_follow_the_counts_on_the_froc_axes(tab, comparison):
    slide(tab, "#score-0", 5)
    threshold = float(tab.get_attribute('[data-row="0"]', "data-threshold"))
    sweep = comparison.detectors[0].sweep
    at = sweep.threshold.index(threshold)
    y = float(tab.get_attribute('[data-mark="0"]', "y").rstrip("%"))

    assert y == pytest.approx(100 * sweep.missed[at] / sweep.defects)
    assert tab.is_visible('[data-mark="0"]')


@pytest.mark.browser
def test_nothing_is_wider_than_a_phone_before_and_after_sliding(tab):
    tab.set_viewport_size({"width": 390, "height": 800})
    for move in (lambda: None, lambda: slide(tab, "#budget", 2), lambda: slide(tab, "#score-1", 2)):
        move()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.evaluate("document.querySelector('#explore').scrollWidth") <= 390


@pytest.mark.browser
def test_names_from_data_run_nowhere(tab):
    assert tab.evaluate("document.scripts.length") == 2
    assert json.loads(tab.text_content("#sweeps"))["detectors"][1]["name"] == NASTY
    assert " ".join(NASTY.split()) in " ".join(tab.text_content("#explore").split())


@pytest.mark.browser
def test_without_scripts_the_static_table_remains(browser, address, comparison):
    context = browser.new_context(java_script_enabled=False)
    found = context.new_page()
    found.goto(address)

    assert not found.is_visible("#budget")
    assert found.is_visible("text=needs scripts")
    rate = comparison.detectors[0].test.fn_rate.rate
    assert f"{rate.count}/{rate.of}" in found.text_content('[data-row="0"]')
    context.close()


@pytest.mark.browser
def test_a_page_without_validation_has_scores_and_no_budget(browser, comparison, tmp_path):
    blind = [put(d, sweep=put(d.sweep, validation_fppi=None)) for d in comparison.detectors]
    path = tmp_path / "report.html"
    path.write_text(page.render(put(comparison, detectors=blind), [], truth=None, measurements=None), encoding="utf-8")
    found = browser.new_page()
    said = []
    found.on("pageerror", lambda error: said.append(str(error)))
    found.goto(path.as_uri())
    slide(found, "#score-0", 0)

    assert said == []
    assert found.query_selector("#budget") is None
    assert "without predictions on validation it can't be kept" in found.text_content("#explore")
    assert shown(found, 0)["fn"] == f"{blind[0].sweep.missed[-1]}/{blind[0].sweep.defects}"
    found.close()


@pytest.mark.browser
def test_what_one_detector_lacks_is_not_available_and_never_zero(browser, comparison, tmp_path):
    first, second, third = comparison.detectors
    mixed = [put(first, sweep=None), put(second, sweep=put(second.sweep, validation_fppi=None)), third]
    path = tmp_path / "report.html"
    path.write_text(page.render(put(comparison, detectors=mixed), [], truth=None, measurements=None), encoding="utf-8")
    found = browser.new_page()
    found.goto(path.as_uri())
    slide(found, "#budget", 1)

    assert set(shown(found, 0).values()) == {"not swept over thresholds"}
    assert set(shown(found, 1).values()) == {"no predictions on validation"}
    assert all(found.text_content(f'[data-row="{k}"] [data-figure="fn"] b') == "n/a" for k in (0, 1))
    assert shown(found, 2)["fn"] == f"{third.sweep.defects}/{third.sweep.defects}"
    found.close()


@pytest.fixture(scope="module")
def told_by_class(field):
    truth, contenders = field
    return report_values.compared(contenders, truth, policy="fppi<=0.2", per_class=True)[0]


@pytest.mark.browser
def test_with_thresholds_by_class_a_step_is_a_budget_and_its_thresholds_are_the_policys(
    browser, field, told_by_class, tmp_path
):
    path = tmp_path / "report.html"
    path.write_text(page.render(told_by_class, [], truth=None, measurements=None), encoding="utf-8")
    found = browser.new_page()
    said = []
    found.on("pageerror", lambda error: said.append(str(error)))
    found.goto(path.as_uri())
    frozen = [shown(found, k) for k in range(3)]
    names = [category.name for category in field[0].categories]

    budgets = json.loads(found.text_content("#sweeps"))["budgets"]
    slide(found, "#budget", budgets.index(0.2))
    assert [shown(found, k) for k in range(3)] == frozen
    for budget in (0.0, budgets[len(budgets) // 2], 1.0):
        slide(found, "#budget", budgets.index(budget))
        for place, contender in enumerate(field[1][:2]):
            policy = parse_policy(f"fppi<={budget}", per_class=True)
            try:
                vectors = [per_class.thresholds_of(policy, scored(run.validation)) for run in contender.runs]
            except Unreachable:
                vectors = [np.full(len(names), np.inf)] * len(contender.runs)
            parts = [rates(scored(run.test), one) for run, one in zip(contender.runs, vectors, strict=True)]
            assert shown(found, place) == {
                short: f"{sum(one[name].count for one in parts):,}/{sum(one[name].of for one in parts):,}"
                for short, name in FIGURES.items()
            }
            if len(vectors) == 1 and np.isfinite(vectors[0]).any():
                expected = ", ".join(
                    f"{name} {score:.3f}" if np.isfinite(score) else f"{name} silent"
                    for name, score in zip(names, vectors[0], strict=True)
                )
                assert found.text_content(f'[data-row="{place}"] .classes') == expected
    found.focus("#score-0")
    found.keyboard.press("ArrowRight")
    assert "steady: at most " in found.text_content("#setting")
    assert "One score holds for all classes" not in found.text_content("#explore")
    found.check('[name="setting"][value="frozen"]')
    assert [shown(found, k) for k in range(3)] == frozen
    assert said == []
    found.close()


def test_a_sweep_by_class_tells_its_budgets(told_by_class, field):
    for detector, contender in zip(told_by_class.detectors[:2], field[1], strict=False):
        sweep = detector.sweep
        assert sweep.budget == sorted(sweep.budget)
        assert all(fppi <= limit for fppi, limit in zip(sweep.validation_fppi, sweep.budget, strict=True))
        at = sweep.budget.index(0.2)
        for seed, thresholds in enumerate(detector.operating_point.by_class):
            assert {name: steps[at] for name, steps in sweep.by_class[seed].items()} == thresholds
        assert sweep.missed[at] == detector.test.fn_rate.rate.count
        assert len(sweep.by_class) == len(contender.runs)
    assert told_by_class.detectors[2].sweep.budget == []


SCALAR = st.text() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.none()


@given(st.recursive(SCALAR | st.just(NASTY), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_in_the_page_comes_back_as_it_was_and_holds_nothing_that_html_reads(value):
    text = explorer.in_script(value)

    assert json.loads(text) == value
    assert text.isascii()
    assert not set(text) & set("<>&")


@given(st.lists(st.lists(st.floats(0, 30)), min_size=1), st.floats(0.001, 8))
def test_budgets_rise_from_zero_and_hold_the_policys(fppi, budget):
    found = explorer.budgets(fppi, budget)

    assert found == sorted(set(found))
    assert found[0] == 0
    assert budget in found
    assert explorer.budgets([], budget) == []


def test_the_data_are_small_however_many_images(comparison):
    sweep = values.Sweep(
        threshold=np.linspace(0.999, 0.001, 200).tolist(), validation_fppi=(np.arange(200) / 7).tolist(),
        missed=[80_000] * 200, defects=80_000, false_alarms=[200_000] * 200, images=20_000, escaped=[10_000] * 200,
        defective=10_000, overkilled=[10_000] * 200, defect_free=10_000,
    )  # fmt: skip
    many = put(comparison, detectors=[put(d, sweep=sweep) for d in comparison.detectors])

    assert len(explorer.explorer(many, first=-10).data) < 20_000 * len(many.detectors)
