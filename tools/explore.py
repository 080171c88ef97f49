"""Look at what was missed: open the FiftyOne App on a finished comparison."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from defect_detect import options
from defect_detect.errors import ConfigError, DatasetError, Fault
from defect_detect.explore.app import LOCAL, PORT, is_private, open_app
from defect_detect.explore.plugin import installed, workspace

MAPPED = 2000

EXAMPLES = """
examples:
  python tools/explore.py runs/line4
  python tools/explore.py runs/line4 --headless          # on a machine without a browser; then, where you sit:
                                                         # ssh -N -L 5151:127.0.0.1:5151 THAT_MACHINE
  python tools/explore.py --list
  python tools/explore.py runs/line4 --remove
  python tools/explore.py --remove-plugin                # the panel leaves FiftyOne's folder of plugins again

The App opens on the pictures and, beside them, the Missed defects panel: drag the threshold, click on a number, and the
defects behind it open as patches. The questions are saved views besides (the menu above the pictures): missed by all,
missed only by ..., found only by ..., recoverable by threshold, false alarms of all. The Embeddings panel maps the
defects by what they look like (`defect_map`; colour it by fate). docs/explore.md says more.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", type=Path, nargs="?", help="folder of a comparison, as compare.py wrote it")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--address", default=LOCAL, metavar="IP",
        help="address to serve at (default: %(default)s, this machine only); any other lets everyone who reaches it "
        "read this machine's files",
    )  # fmt: skip
    parser.add_argument("--headless", action="store_true", help="open no browser here")
    parser.add_argument(
        "--map", action="store_true",
        help=f"map the defects by what they look like, however many pictures have any (by itself: up to {MAPPED:,})",
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list", action="store_true", help="say which comparisons are stored, unfinished ones too, and end"
    )
    what.add_argument("--remove", action="store_true", help="delete the comparison from FiftyOne; its folder stays")
    what.add_argument("--remove-plugin", action="store_true", help="take the panel out of FiftyOne, and end")
    arguments = parser.parse_args()
    if arguments.list:
        return options.ended(_list)
    return options.ended(_remove_plugin if arguments.remove_plugin else lambda: _explore(arguments))


def _explore(arguments: argparse.Namespace) -> int:
    folder: Path | None = arguments.comparison
    if folder is None:
        raise ConfigError(Fault(where="comparison", expected="the folder of a comparison", found="none given"))
    if arguments.remove:
        return _remove(folder)
    if not 0 < arguments.port <= 65535:  # noqa: PLR2004 - the last TCP port
        raise ConfigError(Fault(where="--port", expected="1 to 65535", found=str(arguments.port)))
    name = _stored(folder, map_all=arguments.map)
    if not is_private(arguments.address):
        print(
            f"warning: {arguments.address} may be reached from other machines. The App asks nobody for a password, and "
            "whoever reaches it can read any file that you can read.",
            file=sys.stderr,
        )
    print(f"FiftyOne dataset {name}")
    installed.install(installed.plugins())
    open_app(
        name,
        address=arguments.address,
        port=arguments.port,
        headless=arguments.headless,
        workspace=workspace.SLUG,
        ready=lambda url: print(f"open {url}   (Ctrl-C ends it)", flush=True),
    )
    print("closed; the dataset stays")
    return 0


def _stored(folder: Path, *, map_all: bool) -> str:
    """The dataset's name; stored from the comparison's folder, anew where the comparison changed."""
    from rich.console import Console
    from rich.progress import Progress

    from defect_detect import folder as comparisons
    from defect_detect.explore import lookalikes
    from defect_detect.explore.store import store

    comparison, judged, truth = comparisons.load(folder)
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("looking up the comparison in FiftyOne", total=None)

        def showing(description: str) -> Callable[[int, int], None]:
            return lambda done, total: bars.update(task, description=description, completed=done, total=total)

        progress = showing("storing the comparison in FiftyOne")
        name = store(folder.resolve().name, comparison, judged, truth, folder=folder, progress=progress)
        pictures = len(set(truth.defects.image.tolist()))
        if not map_all and pictures > MAPPED:
            print(f"{pictures:,} pictures with defects: --map adds the map of defects and the search for similar ones")
            return name
        try:
            lookalikes.map_defects(name, truth, showing("looking at the defects"))
        except DatasetError as error:
            print(f"no map of defects: {error}", file=sys.stderr)
        return name


def _remove(folder: Path) -> int:
    from defect_detect.explore import datasets

    name = datasets.remove(folder)
    print(f"nothing of {folder} is stored in FiftyOne" if name is None else f"removed the FiftyOne dataset {name}")
    return 0


def _remove_plugin() -> int:
    place = installed.remove(installed.plugins())
    print("the panel isn't installed" if place is None else f"removed {place}")
    return 0


def _list() -> int:
    from defect_detect.explore import datasets

    for name, place in datasets.stored().items():
        print(f"{name}\t{place}{_gone(place)}")
    for name, (place, writing) in datasets.exports().items():
        print(f"{name}\t{place}   (unfinished{', being written' if writing else ''}){_gone(place)}")
    return 0


def _gone(place: str) -> str:
    return "" if Path(place).is_dir() else "   (the folder is gone)"


if __name__ == "__main__":
    sys.exit(main())
