"""Configs of detectors, `--set`, and options of a comparison."""

from __future__ import annotations

from tests.bad_inputs.cases import Case, Place

_GOOD = "framework: classical\nmodel: threshold\nepochs: 1\n"


def _row(name: str, text: str | bytes, says: str, *, file: str = "own.yaml") -> Case:
    def given(place: Place) -> list[object]:
        return ["train", place.sound.dataset, place.file(file, text), "--out", place.out]

    return Case(kind="configs", name=name, given=given, outcome="refused", says=says)


def _option(name: str, options: tuple[str, ...], says: str) -> Case:
    def given(place: Place) -> list[object]:
        said = place.sound.said
        return ["evaluate", place.sound.dataset, "--predictions", f"a:val={said['val']}", f"a:test={said['test']}",
                "--out", place.out, "--no-fiftyone", *options]  # fmt: skip

    return Case(kind="configs", name=name, given=given, outcome="refused", says=says)


def _set(name: str, options: tuple[str, ...], says: str) -> Case:
    def given(place: Place) -> list[object]:
        return ["train", place.sound.dataset, place.file("own.yaml", _GOOD), "--out", place.out, *options]

    return Case(kind="configs", name=name, given=given, outcome="refused", says=says)


_LAUGHS = "a: &a [1, 1, 1, 1]\n" + "".join(f"b{n}: &b{n} [*{'a' if not n else f'b{n - 1}'}, *a]\n" for n in range(40))
FILES = (
    _row("empty", "", "a mapping"),
    _row("a list", "- 1\n", "a mapping"),
    _row("text", "yolo", "a mapping"),
    _row("not UTF-8", b"framework: \xff", "readable file"),
    _row("NUL", "framework: a\0b", "YAML"),
    _row("tabs", "framework: classical\n\tmodel: threshold\n", "YAML"),
    _row("key twice", _GOOD + "epochs: 2\n", "twice"),
    _row("key twice inside", _GOOD + "options: {sigma: 1, sigma: 2}\n", "twice"),
    _row("aliases that grow", _LAUGHS + _GOOD, "alias"),
    _row("an alias of itself", "a: &a [*a]\n" + _GOOD, "alias"),
    _row("code", _GOOD + "options: !!python/object/apply:os.system ['touch /tmp/no']\n", "python"),
    _row("a date", _GOOD + "options: {sigma: 2020-01-01}\n", "date"),
    _row("bytes", _GOOD + "options: {sigma: !!binary aGVsbG8=}\n", "bytes"),
    _row("infinite learning rate", _GOOD + "learning_rate: .inf\n", "inf"),
    _row("NaN score floor", _GOOD + "score_floor: .nan\n", "nan"),
    _row("10^30 epochs", _GOOD.replace("epochs: 1", "epochs: 1" + "0" * 30), "64 bits"),
    _row("a billion epochs", _GOOD.replace("epochs: 1", "epochs: 1000000000"), "epochs"),
    _row("no epochs", _GOOD.replace("epochs: 1", "epochs: 0"), "at least 1"),
    _row("epochs as text", _GOOD.replace("epochs: 1", 'epochs: "1"'), "epochs"),
    _row("deep nesting", _GOOD + "options: {a: " + "[" * 5000 + "]" * 5000 + "}\n", "YAML"),
    _row("too large", _GOOD + "# " + "x" * (1 << 21), "1 MiB"),
    _row("unknown key", _GOOD + "epoch: 3\n", "Did you mean 'epochs'"),
    _row("unknown framework", _GOOD.replace("classical", "clasical"), "Did you mean"),
    _row("unknown model", _GOOD.replace("threshold", "treshold"), "Did you mean"),
    _row("framework a path", _GOOD.replace("classical", "../../evil"), "framework"),
    _row("framework private", _GOOD.replace("classical", "_learned"), "framework"),
    _row("options a list", _GOOD + "options: [1]\n", "options"),
    _row("device of another kind", _GOOD + "device: tpu\n", "device"),
    _row("a name with markup", _GOOD, "file name", file="[red]x.yaml"),
    _row("a name with spaces", _GOOD, "file name", file="a b.yaml"),
    _row("consent to weights that run code", _GOOD + "trust_checkpoint: " + "ab" * 32 + "\n", "command line only"),
    _row("consent to a config that runs", _GOOD + "trust_config: " + "ab" * 32 + "\n", "command line only"),
    _row("a million threads", _GOOD + "threads: 1000000\n", "threads"),
)  # fmt: skip
SETS = (
    _set("--set without =", ("--set", "epochs"), "key=value"),
    _set("--set of code", ("--set", "options.sigma=!!python/name:os.system"), "YAML"),
    _set("--set of an unknown key", ("--set", "epoch=3"), "Did you mean"),
    _set("--set through a number", ("--set", "epochs.x=3"), "a mapping"),
    _set("--trust-config of no hash", ("--trust-config", "ok"), "64 hexadecimal"),
    _set("--set of infinity", ("--set", "learning_rate=.inf"), "inf"),
    _set("--seed negative", ("--seed", "-1"), "--seed"),
    _set("--seed of 10^30", ("--seed", "1" + "0" * 30), "--seed"),
    _set("--tile 1", ("--tile", "1"), "tile"),
    _set("--tile-overlap without --tile", ("--tile-overlap", "0.5"), "--tile PX"),
)  # fmt: skip
OPTIONS = (
    _option("--policy unknown", ("--policy", "best"), "policy"),
    _option("--policy of NaN", ("--policy", "fppi<=nan"), "policy"),
    _option("--policy negative", ("--policy", "fppi<=-1"), "policy"),
    _option("--iou 0", ("--iou", "0"), "iou"),
    _option("--iou NaN", ("--iou", "nan"), "iou"),
    _option("--costs of NaN", ("--costs", "escape=nan"), "--costs"),
    _option("--costs unknown", ("--costs", "escpe=3"), "Did you mean"),
    _option("--prevalence 2", ("--prevalence", "2", "--costs", "escape=1", "overkill=1"), "prevalence"),
    _option("--sizes falling", ("--sizes", "5,2"), "--sizes"),
    _option("--sizes of NaN", ("--sizes", "nan"), "--sizes"),
    _option("--resamples 0", ("--resamples", "0"), "resamples"),
    _option("--resamples 10^12", ("--resamples", "1000000000000"), "--resamples"),
    _option("--geometry cloud", ("--geometry", "cloud"), "--geometry"),
    _option("--fail-if nonsense", ("--fail-if", "bad"), "--fail-if"),
    _option("--fail-if of code", ("--fail-if", "__import__('os')"), "--fail-if"),
    _option("--baseline nowhere", ("--baseline", "/none", "--fail-if", "worse than baseline, p < 0.05"), "--baseline"),
    _option("--group-similar of what is normalized", ("--group-similar", "16"), "normalized already"),
    _option("--accept-below of what is normalized", ("--accept-below", "crack=3"), "normalized already"),
)  # fmt: skip
CASES = (*FILES, *SETS, *OPTIONS)
