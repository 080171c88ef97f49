"""The options that the tools share, and how a tool ends.

Exit codes: 0 done; 1 something failed; 2 the user's input is at fault; 3 a condition of --fail-if holds; 130 Ctrl-C; 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detect.errors import ConfigError, DefectDetectError, Fault, InputError, did_you_mean

if TYPE_CHECKING:
    from defect_detect import comparing, job

DEFAULT_DETECTORS = ("yolo/yolo26n.yaml", "ssd/ssd300_vgg16.yaml", "maskrcnn/mask_rcnn_r50_fpn.yaml")


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    if not 0 <= (value := float(text)) < float("inf"):
        raise ValueError
    return value


_seconds.__name__ = "number of 0 or more"
_positive.__name__ = "whole number above 0"  # argparse names the type in its message


def _seed(text: str) -> int:
    # Frameworks take 32 bits, and --seeds counts up from here.
    if not 0 <= (value := int(text)) < 1 << 31:
        raise ValueError
    return value


_seed.__name__ = "whole number from 0 to 2147483647"


_MOST_RESAMPLES = 1_000_000


def _resamples(text: str) -> int:
    # Each takes a byte for every unit.
    if not 1 <= (value := int(text)) <= _MOST_RESAMPLES:
        raise ValueError
    return value


_resamples.__name__ = "whole number from 1 to 1000000"

_TABLE: Mapping[str, Mapping[str, Any]] = {
    "--images": {"type": Path, "metavar": "DIR", "help": "folder of the pictures (default: images/ beside the JSON, or its folder)"},
    "--out": {"type": Path, "metavar": "DIR", "help": "folder to write to"},
    "--policy": {"default": "fppi<=0.1", "metavar": "POLICY", "help": "how each detector's threshold is chosen on validation: fppi<=X | overkill<=X | recall>=X | f1 | cost | score=X (default: %(default)s)"},
    "--per-class": {"action": "store_true", "help": "a threshold for each class, all sharing the policy's one budget"},
    "--iou": {"type": float, "default": 0.5, "metavar": "T", "help": "IoU from which a prediction finds a defect (default: %(default)s)"},
    "--geometry": {"choices": ["box", "mask"], "default": "box", "help": "what IoU is taken of; mask needs masks on both sides (default: %(default)s)"},
    "--costs": {"nargs": "+", "default": [], "metavar": "KIND=COST", "help": "escape=100 overkill=5: what a defective unit that passes and a good one that is rejected cost, for the policy 'cost' and the expected cost of every detector; with --prevalence"},
    "--prevalence": {"type": float, "metavar": "SHARE", "help": "share of defective units on the line, such as 0.02; never taken from the dataset"},
    "--sizes": {"metavar": "EDGES", "help": "edges of the size bins, such as 2,5,10: long side in the unit of --scale, else px (default: COCO's bins of area)"},
    "--pod-size": {"choices": ["area", "long-side", "short-side", "maximum-feret", "minimum-feret"], "default": "long-side", "help": "what size is for the probability of detection (default: %(default)s)"},
    "--pod-link": {"choices": ["logit", "probit"], "default": "logit", "help": "its regression's link (default: %(default)s)"},
    "--review": {"type": Path, "metavar": "FILE", "help": "decisions of people on the labels of test, JSON lines or .csv (docs/review.md): figures before and after"},
    "--review-template": {"type": Path, "metavar": "FILE", "help": "write a review to be filled in (a table where it ends in .csv): all misses, all false alarms, a random sample of hits"},
    "--fail-if": {"nargs": "+", "action": "extend", "default": [], "metavar": "CONDITION", "help": "end with exit code 3 when one holds: 'fnr@fppi<=0.1 > 0.05', 'upper(fnr) > 0.1', 'yolo: fnr[class=crack] > 0', 'worse than baseline, p < 0.05' (docs/gate.md)"},
    "--baseline": {"type": Path, "metavar": "DIR", "help": "folder of the earlier comparison that 'worse than baseline' means"},
    "--group": {"metavar": "FIELD", "help": "image field that names the part, tile or lot: never split apart, and the sampling unit of intervals (default: 'group' where the file has it)"},
    "--format": {"dest": "form", "default": "auto", "metavar": "NAME", "help": "auto | coco | yolo | voc | cvat | labelme | supervisely | severstal | masks (docs/formats.md; default: %(default)s)"},
    "--group-pattern": {"metavar": "REGEX", "help": "what its first group (else all of it) matches in a file name names the part, instead of --group: 'board(\\d+)'"},
    "--group-similar": {"nargs": "?", "type": int, "const": 16, "metavar": "BITS", "help": "never split pictures apart that look nearly the same: sketches that differ in at most BITS of 256 (default when given: 16)"},
    "--fold": {"metavar": "I/K", "help": "cut one file into K folds: fold I is test, the next one val, the others train"},
    "--scale": {"metavar": "PX/UNIT", "help": "how many px make one unit, such as 48/mm, so that sizes can be said in it"},
    "--severity": {"nargs": "+", "default": [], "metavar": "CLASS=LEVEL", "help": "critical | major | minor, by class"},
    "--accept-below": {"nargs": "+", "default": [], "metavar": "CLASS=SIZE", "help": "smaller defects of this class are acceptable and don't count (long side, in the unit of --scale, else px)"},
    "--seed": {"type": _seed, "default": 0, "metavar": "N", "help": "seed of splitting, training and resampling (default: %(default)s)"},
    "--seeds": {"type": _positive, "default": 1, "metavar": "N", "help": "trainings of each detector, with seeds SEED, SEED+1, ...; a verdict about frameworks needs at least 3 (default: %(default)s)"},
    "--set": {"nargs": "+", "action": "extend", "default": [], "metavar": "KEY=VALUE", "help": "change a setting of every config, e.g. epochs=50 weights=none options.lrf=0.1, or of one: yolo26n.epochs=80"},
    "--device": {"metavar": "DEVICE", "help": "auto | cpu | cuda:0 (short for --set device=...)"},
    "--threads": {"type": _positive, "metavar": "N", "help": "CPU threads of a training (short for --set threads=...)"},
    "--trust-checkpoint": {"metavar": "SHA256", "help": "load the file of weights that has this SHA-256 although it is a pickle, which can run any code; only if you know who wrote it (short for --set trust_checkpoint=...)"},
    "--trust-config": {"metavar": "SHA256", "help": "run the config that has this SHA-256 and that options.config names, although it is a program; only if you have read it. Configs of the framework's own need no trust (short for --set trust_config=...)"},
    "--jobs": {"type": _positive, "default": 1, "metavar": "N", "help": "trainings that run side by side, each with its share of the CPU threads; for small networks on a CPU (default: %(default)s)"},
    "--resamples": {"type": _resamples, "default": 2000, "metavar": "N", "help": "bootstrap resamples (default: %(default)s)"},
    "--strict": {"action": "store_true", "help": "refuse a dataset that would need repairs, and list them all"},
    "--allow": {"action": "store_true", "help": "compare detectors that were not measured alike; the differences are printed with the verdict"},
    "--tile": {"type": _positive, "metavar": "PX", "help": "cut large pictures into tiles of PX x PX px for training and predicting; what is predicted is joined and judged on the whole pictures"},
    "--tile-overlap": {"type": float, "metavar": "SHARE", "help": "least share of its side by which a tile overlaps the next one (default: 0.2)"},
    "--tile-min-visible": {"type": float, "metavar": "SHARE", "help": "a defect of which a tile shows less than this, of what the best tile shows, is ignored there (default: 0.2)"},
    "--tile-defect-free": {"type": float, "metavar": "RATIO", "help": "defect-free tiles that training keeps for each tile with a defect (default: 1)"},
    "--operator": {"metavar": "NAME", "help": "who asks for this, for command.log (default: $DEFECT_DETECT_OPERATOR)"},
    "--stalled-after": {"type": _seconds, "default": 1800.0, "metavar": "SECONDS", "help": "a worker that says nothing for so long is taken to hang, its stack is logged and it is ended; 0: never (default: %(default)g)"},
    "--no-fiftyone": {"action": "store_true", "help": "don't store the comparison in FiftyOne"},
}  # fmt: skip


JUDGING = (
    "--policy", "--per-class", "--iou", "--geometry", "--costs", "--prevalence", "--sizes", "--pod-size", "--pod-link",
    "--resamples", "--allow", "--review", "--review-template", "--fail-if", "--baseline",
)  # fmt: skip
"""The options that `judging` reads, beside --seed."""


DATASET = (
    "--images", "--format", "--group", "--group-pattern", "--group-similar", "--fold", "--scale", "--severity",
    "--accept-below", "--seed", "--strict",
)  # fmt: skip
"""The options that `source` reads."""


TILING = ("--tile", "--tile-overlap", "--tile-min-visible", "--tile-defect-free")
"""The options that `tiling` reads."""


WORK = ("--operator", "--stalled-after")
"""The options of what may take hours."""


def plain(description: str, *, epilog: str = "") -> argparse.ArgumentParser:
    """A parser of a tool that takes no dataset."""
    return argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parser(description: str, *options: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with the dataset first and the named ones of the shared options."""
    made = plain(description, epilog=epilog)
    made.add_argument("dataset", type=Path, help="a COCO file, or a folder with train.json, val.json, test.json")
    for option in options:
        made.add_argument(option, **_TABLE[option])
    return made


def overrides(arguments: argparse.Namespace) -> list[str]:
    """`--set`, with `--device`, `--threads`, `--trust-checkpoint`, `--trust-config` as what they are short for.

    Trainings side by side get a share of the cores each, unless told otherwise.
    """
    threads, jobs = getattr(arguments, "threads", None), getattr(arguments, "jobs", 1)
    if threads is None and jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
    short = {"device": getattr(arguments, "device", None), "threads": threads}
    short |= {name: getattr(arguments, name, None) for name in ("trust_checkpoint", "trust_config")}
    return [*(f"{name}={value}" for name, value in short.items() if value is not None), *arguments.set]


def pairs(option: str, texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping.

    Raises:
        ConfigError: a text without `=`, or a key given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigError(Fault(where=option, expected="KEY=VALUE", found=repr(text)))
        if key in found:
            raise ConfigError(Fault(where=option, expected="each key once", found=f"{key!r} twice"))
        found[key] = value
    return found


def numbers(option: str, texts: list[str]) -> dict[str, float]:
    """`KEY=NUMBER` texts as a mapping.

    Raises:
        ConfigError: as `pairs`, or a value that isn't a positive number.
    """
    found = {}
    for key, value in pairs(option, texts).items():
        try:
            found[key] = float(value)
        except ValueError:
            found[key] = 0.0
        if not 0 < found[key] < float("inf"):
            raise ConfigError(Fault(where=f"{option} {key}", expected="a number above 0", found=repr(value)))
    return found


def costs(texts: list[str]) -> dict[str, float]:
    """`escape=100 overkill=5` as a mapping.

    Raises:
        ConfigError: as `numbers`, or another kind of cost.
    """
    found = numbers("--costs", texts)
    faults: list[Fault | str] = [
        Fault(where="--costs", expected="escape=COST overkill=COST", found=repr(kind),
              fix=did_you_mean(kind, ("escape", "overkill")))
        for kind in found
        if kind not in ("escape", "overkill")
    ]  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    return found


def edges(text: str | None) -> tuple[float, ...]:
    """`2,5,10` as ascending numbers above 0; None: none.

    Raises:
        ConfigError: they aren't that.
    """
    if text is None:
        return ()
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    rising = all(low < high for low, high in itertools.pairwise((0.0, *found, float("inf"))))
    if not found or not rising:
        raise ConfigError(
            Fault(where="--sizes", expected="ascending numbers above 0, such as 2,5,10", found=repr(text))
        )
    return found


def scale(text: str | None) -> tuple[float | None, str]:
    """`48/mm` as px per unit and the unit's name; None: sizes stay in px.

    Raises:
        ConfigError: it isn't of that form.
    """
    if text is None:
        return None, "px"
    number, slash, unit = text.partition("/")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not (0 < value < float("inf") and slash and unit.strip()):
        raise ConfigError(Fault(where="--scale", expected="PX/UNIT, such as 48/mm", found=repr(text)))
    return value, unit.strip()


def fold(text: str | None) -> tuple[int, int] | None:
    """`2/5` as two numbers.

    Raises:
        ConfigError: it isn't of that form.
    """
    if text is None:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise ConfigError(Fault(where="--fold", expected="I/K, such as 2/5", found=repr(text)))
    return int(number), int(of)


def shipped_config(name: str) -> Path:
    """A config of the `configs/` folder that lies beside the package."""
    return Path(__file__).parents[1] / "configs" / name


def source(arguments: argparse.Namespace) -> comparing.Source:
    """The dataset that the arguments describe."""
    from defect_detect import comparing

    px, unit = scale(arguments.scale)
    return comparing.Source(
        path=arguments.dataset, images=arguments.images, form=arguments.form, group=arguments.group,
        pattern=arguments.group_pattern, alike=arguments.group_similar, fold=fold(arguments.fold), scale=px, unit=unit, severity=pairs("--severity", arguments.severity),
        accept_below=numbers("--accept-below", arguments.accept_below), seed=arguments.seed, strict=arguments.strict,
    )  # fmt: skip


def tiling(arguments: argparse.Namespace) -> job.Tiling | None:
    """How the arguments want pictures cut; None: not at all.

    Raises:
        ConfigError: not in that way, or details of a tiling without its size.
    """
    from defect_detect import job
    from defect_detect.data.tiling import check

    details = {name: getattr(arguments, f"tile_{name}") for name in ("overlap", "min_visible", "defect_free")}
    given = {name: value for name, value in details.items() if value is not None}
    if arguments.tile is None:
        if given:
            raise ConfigError(
                *(Fault(where=f"--tile-{name.replace('_', '-')}", expected="--tile PX beside it", found="none")
                  for name in given)
            )  # fmt: skip
        return None
    asked = job.Tiling(size=arguments.tile, **given)
    check(asked)
    return asked


def judging(arguments: argparse.Namespace) -> comparing.Judging:
    """How the arguments want detectors judged."""
    from defect_detect import comparing

    return comparing.Judging(
        policy=arguments.policy, per_class=arguments.per_class, iou=arguments.iou, geometry=arguments.geometry,
        costs=costs(arguments.costs), prevalence=arguments.prevalence, sizes=edges(arguments.sizes),
        pod_size=arguments.pod_size.replace("-", " ").replace("feret", "Feret"), pod_link=arguments.pod_link,
        seed=arguments.seed, resamples=arguments.resamples, allow=arguments.allow, review=arguments.review,
        template=arguments.review_template, fail_if=arguments.fail_if, baseline=arguments.baseline,
    )  # fmt: skip


def out(arguments: argparse.Namespace, parent: str, suffix: str = "") -> Path:
    """`--out`, or a folder under `parent` named for the dataset."""
    if arguments.out is not None:
        return Path(arguments.out)
    named: Path = arguments.dataset.absolute()
    return Path(parent) / (named.stem + suffix)


class _Told(KeyboardInterrupt):
    """Someone else than the keyboard asks to end: a scheduler, a closed terminal."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__()


def _end_in_order(signum: int, frame: object) -> None:  # noqa: ARG001 - as `signal` calls it
    raise _Told(signum)


def _visible(said: object) -> str:
    """The text with control characters written out: names of files and bytes of strangers move no terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(said))


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _check_names() -> None:
    """Refuse arguments and a working directory that aren't UTF-8: the JSON of a run couldn't name them."""
    for where, name in (*(("argument", word) for word in sys.argv[1:]), ("working directory", str(Path.cwd()))):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            found = f"{name!r}, whose byte 0x{ord(name[error.start]) - _ESCAPED:02x} is none"
            fix = "Rename it, or give a symbolic link to it whose name is."
            raise ConfigError(Fault(where=where, expected="a name in UTF-8", found=found, fix=fix)) from None


_ESCAPED = 0xDC00
"""What Python adds to a byte of a name that is no text."""


def ended(action: Callable[[], int]) -> int:
    """Run a tool's action; say its errors as sentences and return the exit code.

    SIGTERM and SIGHUP end it as Ctrl-C does: workers are ended in order, and nothing is left half made.
    """
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) == signal.SIG_DFL:  # nohup has SIGHUP ignored
            signal.signal(signum, _end_in_order)
    try:
        _check_names()
        return action()
    except InputError as error:
        for fault in error.faults:
            print(f"error: {_visible(fault)}", file=sys.stderr)  # noqa: T201 - this is where tools speak
        return 2
    except DefectDetectError as error:
        print(f"failed: {_visible(error)}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        return _refused(error)
    except MemoryError:
        print("failed: no memory left. What was finished is kept.", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt as error:
        print("\nstopped. What was finished is kept; the same command goes on from there.", file=sys.stderr)  # noqa: T201
        return 128 + error.signum if isinstance(error, _Told) else 130


def _refused(error: OSError) -> int:
    where = _visible(error.filename if error.filename is not None else "a file")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        print(f"error: no permission for {where}: {error.strerror}. Choose another --out.", file=sys.stderr)  # noqa: T201
        return 2
    text = f"failed: {error.strerror or error}: {where}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        text += ". What was finished is kept: make room and run the same command again"
    print(text, file=sys.stderr)  # noqa: T201
    return 1
