"""The audit: its numbers on small made scenes, its table of detectors against the networks, its page in a browser."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from defect_detect import auditing, backends, comparing, config, geometry, trials
from defect_detect.data import audit, audit_inputs, audit_labels, audit_losses, audit_precision, coco
from defect_detect.data.audited import Audit
from defect_detect.errors import DatasetError
from defect_detect.report import audit_page, audit_terminal
from tests import scenes

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "configs/baseline/classical.yaml"
DEEPER = ("mask_rcnn_r34_fpn", "mask_rcnn_r50_fpn", "mask_rcnn_r101_fpn", "yolo11s", "yolo26s", "yolo26n_light")
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*/*.yaml") if path.stem not in DEEPER)
YOLO = audit.Detector(name="yolo", framework="ultralytics", model="yolo26n", image_size=64)
SSD = audit.Detector(name="ssd", framework="torchvision", model="ssd300_vgg16", image_size=32)


def splits(**changes):
    """Train of three pictures, one of them defect-free, and test of two; 64 px, classes class0 and class1."""
    train = scenes.dataset(
        image=[0, 0, 1, 1], label=[0, 1, 0, 0], box=[[0, 0, 8, 4], [10, 10, 50, 40], [0, 0, 64, 64], [5, 5, 6, 25]],
        images=3, crowd=[False, False, True, False], split="train", group=["a", "a", "b"], **changes,
    )  # fmt: skip
    test = scenes.dataset(
        image=[0, 0, 1], label=[0, 0, 0], box=[[0, 0, 8, 8], [1, 0, 9, 8], [2, 2, 12, 12]], images=2, split="test",
        ignore=[False, False, True],
    )  # fmt: skip
    return [train, test]


def found(data=None, detectors=(YOLO, SSD), **more) -> Audit:
    return audit.audit(splits() if data is None else data, detectors, name="scene", **more)


def dropped(losses, framework, start):
    (one,) = [loss for loss in losses if loss.framework == framework and loss.rule.startswith(start)]
    return one.count


def test_counts_are_by_split_and_class_and_leave_crowds_and_ignored_out():
    made = found()

    train, test = made.splits
    assert (train.images, train.defect_free, train.units, train.defects, train.crowds) == (3, 1, 2, 3, 1)
    assert (test.images, test.defects, test.ignored) == (2, 2, 1)
    first, second = made.classes
    assert [there.defects for there in first.splits] == [2, 2]
    assert [(there.images, there.units) for there in first.splits] == [(2, 1), (1, 1)]
    assert [(there.small, there.medium, there.large) for there in second.splits] == [(0, 1, 0), (0, 0, 0)]
    assert (first.long_side.least, first.long_side.most, first.short_side.least) == (8, 20, 1)
    assert (second.short_side.median, second.long_side.median) == (30, 40)


def test_defects_are_measured_where_the_network_sees_them():
    yolo, ssd = found().shown

    assert (yolo.resizing, yolo.stride) == ("long side 64 px", 8)
    # Short sides 4, 30, 1, 8, 8 px at the pictures' own size, half of that for the SSD.
    assert yolo.under == {"2": 1, "4": 1, "8": 2}
    assert ssd.under == {"2": 1, "4": 2, "8": 4}
    assert ssd.by_class == {"class0": {"2": 1, "4": 2, "8": 4}, "class1": {"2": 0, "4": 0, "8": 0}}
    assert (yolo.in_a_cell, ssd.in_a_cell, ssd.defects) == (0, 3, 5)


@pytest.mark.parametrize(
    ("asked", "size", "factors"),
    [
        (replace(SSD, image_size=300), (600, 300), (0.5, 1.0)),
        (replace(YOLO, image_size=300), (640, 320), (0.5, 0.5)),  # 300 is rounded up to 320
        (replace(YOLO, tile=100, image_size=320), (1000, 50), (3.2, 3.2)),
        (replace(YOLO, framework="classical", model="threshold", image_size=640), (64, 64), (1.0, 1.0)),
        (replace(YOLO, framework="elsewhere", image_size=32), (64, 64), (0.5, 0.5)),
    ],
)
def test_pictures_are_resized_as_each_family_does(asked, size, factors):
    assert audit_inputs.of(asked).factors(np.array([size])).tolist() == [list(factors)]


def test_options_that_change_the_finest_map_change_the_stride():
    def stride(model, **parts):
        return audit_inputs.of(replace(SSD, model=model, options={"model": parts})).stride

    assert (stride("ssd300_vgg16"), stride("ssd300_vgg16", fine=True)) == (8, 4)
    assert (stride("ssdlite320_mobilenet_v3"), stride("ssdlite320_mobilenet_v3", fine=True)) == (16, 8)
    assert (stride("mask_rcnn_r50_fpn"), stride("mask_rcnn_r50_fpn", layers=[2, 3])) == (4, 8)
    assert stride("unheard of") is None
    assert audit_inputs.of(replace(SSD, model="mask_rcnn_r18_fpn", options={"model": 5})).stride == 4


def assert_true_of_mmdet(path):
    from defect_detect import job
    from defect_detect.backends._mmdet import configs, environment

    environment.start(1)
    made = config.read(path, ["weights=none"])
    asked = job.TrainJob(
        detector="x", framework="mmdet", model=made.model, dataset="", seed=0, settings=made.settings,
        options=made.options,
    )  # fmt: skip
    known = audit_inputs.of(
        audit.Detector(
            name="x", framework="mmdet", model=made.model, image_size=made.settings.image_size, options=made.options
        )
    )
    plan = configs.plan(asked, classes=2)
    (resize,) = [step for step in plan.test if step["type"] == "Resize"]
    head = plan.model.get("rpn_head") or plan.model.bbox_head
    # Strides of configs that it doesn't know are not guessed.
    assert known.stride == (None if made.model == "config" else head.anchor_generator.strides[0])
    assert (max(resize["scale"]), resize["keep_ratio"]) == (known.side, not known.stretch)


def assert_true_of_detectron2(made, known):
    from defect_detect import job
    from defect_detect.backends._detectron2 import environment

    with environment.installed():
        from detectron2.data import transforms
        from detectron2.modeling import build_model

        from defect_detect.backends._detectron2 import configs

    asked = job.TrainJob(
        detector="x", framework="detectron2", model=made.model, dataset="", seed=0, settings=made.settings,
        options=made.options,
    )  # fmt: skip
    cfg = configs.plan(asked, classes=2, regions=True, device="cpu", images=9).cfg
    strides = {name: spec.stride for name, spec in build_model(cfg).backbone.output_shape().items()}
    assert min(strides[name] for name in cfg.MODEL.RPN.IN_FEATURES) == known.stride
    resize = transforms.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, "choice")
    size = np.array([500, 350])
    made_of = resize.get_transform(np.zeros((350, 500, 3), np.uint8))
    assert (made_of.new_w, made_of.new_h) == tuple(np.round(size * known.factors(size[None])[0]))


@pytest.mark.framework
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_table_of_detectors_is_true_of_the_networks(path, request):
    torch = pytest.importorskip("torch")
    made = config.read(path, ["weights=none", "image_size=320"])
    known = audit_inputs.of(
        audit.Detector(
            name="x", framework=made.framework, model=made.model, image_size=made.settings.image_size,
            options=made.options,
        )
    )  # fmt: skip

    if made.framework == "ultralytics":
        request.getfixturevalue("ultralytics")
        from defect_detect.backends._ultralytics import detecting, network

        assert float(network.build(made.model, "detect", ["a"]).stride.min()) == known.stride
        assert detecting.padded(1, 1, 321)[0] == audit_inputs.of(replace(YOLO, image_size=321)).side
    elif made.framework == "torchvision":
        from defect_detect import job
        from defect_detect.backends._torchvision import models

        asked = job.TrainJob(
            detector="x", framework=made.framework, model=made.model, dataset="", seed=0, settings=made.settings,
            options=made.options,
        )  # fmt: skip
        detector = models.build(asked, 2)
        with torch.inference_mode():
            maps = detector.network.eval().backbone(torch.zeros(1, 3, 320, 320))
        assert 320 / max(each.shape[-1] for each in maps.values()) == known.stride
        size = np.array([500, 350])
        assert detector.fit.size(*size) == tuple(np.round(size * known.factors(size[None])[0]))
    elif made.framework == "mmdet":
        request.getfixturevalue("mmdet")
        assert_true_of_mmdet(path)
    elif made.framework == "detectron2":
        pytest.importorskip("detectron2", reason="detectron2 is not installed")
        assert_true_of_detectron2(made, known)
    else:
        assert (made.framework, known.stride) == ("classical", 1)


def test_every_loaders_rules_are_counted_on_train():
    train = scenes.dataset(
        image=[0, 1, 1, 2, 3, 4, 4, 4],
        label=[0, 0, 0, 0, 0, 0, 0, 1],
        box=[[0, 0, 9, 1], [0, 0, 9, 9], [5, 5, 9, 9], [0, 0, 9, 9], [0, 0, 0.5, 9], *[[1, 1, 9, 9]] * 3],
        crowd=[False, False, False, True, False, False, False, False],
        ignore=[False, False, True, False, False, False, False, False],
        images=6, split="train",
    )  # fmt: skip
    size = np.full((6, 2), 64)
    size[1], size[5] = (64, 31), (9, 64)
    files = ("a.png", "b.png", "a.jpg", "c.png", "d/a.png", "e.png")
    train = replace(train, images=replace(train.images, size=size, file=files))
    losses = audit_losses.losses(train, [])

    assert dropped(losses, "torchvision", "images without") == 1
    assert dropped(losses, "torchvision", "images all of whose boxes") == 2  # 0 and 3
    assert dropped(losses, "torchvision", "crowds") == 1
    assert dropped(losses, "detectron2", "images without annotations, or with crowds only") == 2
    assert dropped(losses, "detectron2", "every image of a file") == 6
    assert dropped(losses, "mmdet", "images without annotations") == 1
    assert dropped(losses, "mmdet", "images under 32 px") == 2
    assert dropped(losses, "mmdet", "boxes under 1 px") == 1
    assert dropped(losses, "ultralytics", "images under 10 px") == 1
    assert dropped(losses, "ultralytics", "images that share a label file") == 2
    assert dropped(losses, "ultralytics", "boxes given twice") == 1
    assert {loss.detector for loss in losses if loss.source.endswith("augment.py")} == {"YOLO at 640 px"}


def test_boxes_too_small_for_ultralytics_are_counted_at_its_image_size_and_by_its_zoom():
    def lost(box, **changes):
        train = scenes.dataset(image=[0], label=[0], box=[box], images=1, split="train")
        asked = replace(YOLO, **changes)
        losses = [one for one in audit_losses.losses(train, [asked]) if one.detector == "yolo"]
        return [one.count for one in losses]

    assert lost([0, 0, 20, 2]) == [1, 0, 0]
    assert lost([0, 0, 20, 4]) == [0, 1, 0]
    assert lost([0, 0, 20, 4.5]) == [0, 0, 0]
    assert lost([0, 0, 20, 4], options={"scale": 0.0}) == [0, 0, 0]
    assert lost([0, 0, 20, 4], options={"scale": [0.9, 1.1]}) == [0, 0, 0]
    assert lost([0, 0, 20, 4], image_size=32) == [1, 0, 0]
    assert lost([0, 0, 20, 4], image_size=128) == [0, 0, 0]
    assert lost([0, 0, 64, 0.6]) == [0, 0, 1]


@pytest.mark.framework
@pytest.mark.usefixtures("ultralytics")
@settings(deadline=None)
@given(width=st.integers(1, 1200), height=st.integers(1, 1200))
def test_ultralytics_itself_drops_the_boxes_that_the_audit_counts(width, height):
    from ultralytics.data import augment

    side = np.array([[0, 0, width / 4, height / 4]])
    size = np.full((1, 2), 320)
    train = scenes.dataset(image=[0], label=[0], box=side, images=1, split="train", side=320)
    train = replace(train, images=replace(train.images, size=size))
    losses = audit_losses.losses(train, [replace(YOLO, image_size=320)])
    counted = sum(one.count for one in losses if one.detector and "where a zoom shrinks" not in one.rule)

    assert bool(augment.RandomPerspective.box_candidates(side.T, side.T)[0]) == (counted == 0)


def test_what_is_said_to_be_neutralised_has_a_backend():
    assert {one.framework for one in audit_losses.losses(splits()[0], [])} <= set(backends.names())


@settings(deadline=None)
@given(hits=st.integers(0, 200), more=st.integers(1, 200))
def test_the_interval_is_the_exact_one(hits, more):
    from scipy import stats

    of = hits + more
    exact = stats.binomtest(hits, of).proportion_ci(0.95, "exact")

    assert audit_precision.half_width(of, hits / of) == pytest.approx((exact.high - exact.low) / 2, abs=1e-9)


def test_needed_is_the_fewest_that_suffice():
    needed = audit_precision.needed()

    assert audit_precision.half_width(needed, 0.5) <= 0.1 < audit_precision.half_width(needed - 1, 0.5)


def test_precision_knows_that_defects_of_a_unit_go_together():
    count = 120
    test = scenes.dataset(
        image=range(count), label=[0] * count, box=[[0, 0, 9, 9]] * count, images=count,
        group=[f"part{k // 4}" for k in range(count)],
    )  # fmt: skip
    both = [audit_precision.of_class(test, label) for label in (0, 1)]

    assert (both[0].defects, both[0].units, both[0].design_effect) == (120, 30, 4)
    assert both[0].half_width_by_units == audit_precision.half_width(30, 0.5)
    assert both[0].half_width_by_units > 0.1 > both[0].half_width
    assert both[0].verdict == "perhaps too few"
    assert (both[1].half_width, both[1].design_effect, both[1].verdict) == (None, None, "too few")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3), st.integers(8, 11), st.booleans()),
        max_size=25,
    )
)
def test_boxes_given_twice_are_those_that_looking_at_every_pair_finds(rows):
    data = scenes.dataset(
        image=[row[0] for row in rows], label=[row[1] for row in rows],
        box=[[row[2], 0, row[2] + row[3], 10] for row in rows], crowd=[row[4] for row in rows], images=4,
    )  # fmt: skip
    box = data.defects.box
    expected = {
        (a, b)
        for a in range(len(rows))
        for b in range(a)
        if rows[a][0] == rows[b][0] and not rows[a][4] and not rows[b][4]
        and geometry.iou(box[[a]], box[[b]])[0, 0] >= 0.8
    }  # fmt: skip
    pairs = [(int(a), int(b)) for one, two, _ in audit_labels.pairs(data) for a, b in zip(one, two, strict=True)]

    assert sorted((max(pair), min(pair)) for pair in pairs) == sorted(expected)


def test_labels_worth_a_second_look_are_named_by_kind_the_clearest_first():
    boxes = [[k, k, k + 10, k + 10 + k % 3] for k in range(30)]
    boxes += [[0, 0, 63, 63], [0, 30, 1, 40], [0, 0, 10, 10], [0, 1, 10, 11]]
    label = [0] * 31 + [0, 1, 0]
    data = scenes.dataset(image=[0] * 30 + [1, 2, 0, 0], label=label, box=boxes, images=3)
    by_kind = {}
    for one in audit_labels.suspects([data]):
        by_kind.setdefault(one.kind, []).append(one)

    (whole,) = by_kind[audit_labels.WHOLE]
    (speck,) = by_kind[audit_labels.SPECK]
    assert (whole.file, speck.file, speck.value) == (data.images.file[1], data.images.file[2], 1)
    assert [one.annotation for one in by_kind[audit_labels.UNUSUAL]] == [whole.annotation, speck.annotation]
    assert by_kind[audit_labels.UNUSUAL][0].value > 5
    assert by_kind[audit_labels.UNUSUAL][1].value < 0.5
    other = by_kind[audit_labels.OTHER_CLASS]
    assert {(one.category, one.other_category) for one in other} <= {("class0", "class1"), ("class1", "class0")}
    assert other[0].value == 1
    assert [one.value for one in other] == sorted((one.value for one in other), reverse=True)


def test_few_defects_of_a_class_are_never_unusual():
    data = scenes.dataset(image=[0] * 3, label=[0] * 3, box=[[0, 0, 5, 5], [9, 9, 14, 14], [0, 0, 50, 50]], images=1)

    assert [one for one in audit_labels.suspects([data]) if one.kind == audit_labels.UNUSUAL] == []


def test_warnings_say_what_is_missing():
    said = "\n".join(found().warnings)

    assert "test has no class1: its FN rate is n/a" in said
    assert "test has no defect-free images" in said
    assert "class0 (2)" in said
    assert "yolo is not taught 1 of 4 annotations" in said


def test_nothing_is_said_of_splits_that_are_not_there():
    made = found(splits()[1:])

    assert made.losses == []
    assert [one.split for one in made.splits] == ["test"]
    assert found(splits()[:1]).precision == []
    with pytest.raises(DatasetError, match="at least one split"):
        audit.audit([], [], name="nothing")


def test_pictures_that_look_alike_in_several_splits_are_found(tmp_path):
    rng = np.random.default_rng(1)
    made = []
    for data in splits():
        made.append(replace(data, root=tmp_path))
        for name in data.images.file:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / name)
    Image.open(tmp_path / "train/00001.png").point(lambda value: value * 0.9).save(tmp_path / "test/00000.png")

    (one,) = audit.looking_alike(made)
    assert one.files == {"train": ["train/00001.png"], "test": ["test/00000.png"]}
    assert one.nearest == {"train": "train/00001.png", "test": "test/00000.png"}
    assert one.bits <= 16
    assert any("look nearly the same" in text for text in found(made, alike=[one]).warnings)
    assert "bits differ" in audit_page.render(found(made, alike=[one]), made)


def test_names_are_text_not_markup(tiny):
    made = audit.loaded(tiny)
    odd = "<script>[bold]&"
    renamed = [replace(data, categories=(replace(data.categories[0], name=odd), *data.categories[1:])) for data in made]
    one = audit.audit(renamed, [replace(YOLO, name="[red]")], name=odd)
    page = audit_page.render(one, renamed)
    said = io.StringIO()
    audit_terminal.print_audit(one, Console(file=said, width=200))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert odd in said.getvalue()
    assert "[red]" in said.getvalue()
    assert page == audit_page.render(one, renamed)


def test_a_picture_that_is_gone_costs_its_card_only(tiny):
    made = [replace(data, root=tiny / "elsewhere") for data in audit.loaded(tiny)]
    page = audit_page.render(audit.audit(made, [YOLO], name="x"), made)

    assert "not shown: the picture could not be read" in page


def test_compare_shows_it_before_it_trains(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "run_all", lambda *_, **__: ({}, {}))
    said = io.StringIO()
    code = comparing.run(
        comparing.Source(path=tiny), tmp_path, detectors=[SHIPPED], judging=comparing.Judging(), fiftyone=False,
        console=Console(file=said, width=150),
    )  # fmt: skip

    assert code == 0
    assert "< 4 px" in said.getvalue()
    assert "too few defects in test" in said.getvalue()


def tool(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/audit.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def audited(export, tmp_path_factory):
    """What the tool leaves for a raw export."""
    out = tmp_path_factory.mktemp("audited") / "out"
    run = tool(export, "--out", out, "--set", "image_size=320", "yolo26n.image_size=64")
    assert run.returncode == 0, run.stderr
    assert "defect-free images" in run.stdout
    return out


def test_the_tool_normalizes_audits_and_writes(audited):
    one = msgspec.json.decode((audited / "audit.json").read_bytes(), type=Audit)

    assert coco.is_normalized(audited / "dataset")
    assert one.schema == 1
    assert [shown.resizing for shown in one.shown] == [
        "long side 64 px",
        "stretched to 320 x 320 px",
        "long side 320 px",
    ]
    assert one.fingerprints == {split: coco.load(audited / "dataset", split).fingerprint for split in one.fingerprints}
    assert one.alike is not None
    assert sum(split.images for split in one.splits) == 40
    assert not list(audited.glob("*.part"))


def test_the_tool_takes_a_normalized_dataset_where_it_lies(tiny, tmp_path):
    run = tool(tiny, "--out", tmp_path / "out", "--no-alike", "--tile", 48)

    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.html", "audit.json"]
    one = json.loads((tmp_path / "out/audit.json").read_bytes())
    assert one["alike"] is None
    assert one["shown"][0]["resizing"] == "tiles of 48 px, long side 640 px"


def test_the_tool_refuses_what_it_cannot_read(tiny, tmp_path):
    for arguments in ([tmp_path / "none"], [tiny, "--set", "image_sice=9", "--detectors", "none.yaml", SHIPPED]):
        run = tool(*arguments, "--out", tmp_path / "out")
        assert run.returncode == 2, run.stderr
        assert "Traceback" not in run.stderr
        assert "image_sice" in run.stderr or tiny not in arguments
        assert not (tmp_path / "out/audit.json").exists()


@pytest.mark.browser
def test_a_browser_opens_the_page_without_errors_requests_or_sideways_scrolling(audited):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    said, asked = [], []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in (1280, 390):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto((audited / "audit.html").as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("document.querySelectorAll('#sheets ~ .cards figure.card svg image').length") > 0
            gone = "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).length"
            assert tab.evaluate(gone) == 0
            assert tab.title().startswith("Audit before training")
        browser.close()

    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_short_form_reads_no_picture(tiny, monkeypatch):
    def read(path):
        raise AssertionError(path)

    monkeypatch.setattr("defect_detect.data.pixels.read", read)
    said = io.StringIO()
    made = config.read(SHIPPED)
    auditing.before_training(tiny, configs=[made], name="x", tile=None, console=Console(file=said))

    assert "classical" in said.getvalue()
