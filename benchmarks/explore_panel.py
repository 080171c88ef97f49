"""How long the Missed defects panel takes to answer a threshold change: the whole call, without FiftyOne's server.

python benchmarks/explore_panel.py [--images 20000] [--runs 7]

Three detectors, 10 predictions an image, 2,000 resamples, one thread. Every call goes to a threshold that none went
to before, so nothing is remembered but the comparison itself. Wall seconds depend on who else is busy here; CPU
seconds don't.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from timing import one_thread

one_thread()

from comparison import make
from explore import compared, judged

RESAMPLES = 2000


def made(images: int) -> Any:
    """A comparison in memory."""
    from dataclasses import replace

    from msgspec.structs import replace as changed

    from defect_detect.evaluation.compare import drawn
    from defect_detect.evaluation.judged import Contender, Rule, Run
    from defect_detect.evaluation.missed import scored
    from defect_detect.explore.columns import Columns

    truth, said = make(images, "test")
    runs = judged(truth, said)
    contenders = tuple(
        Contender(name=one.name, runs=(Run(seed=0, test=one.evaluation, validation=None, manifest=None),))
        for one in runs
    )
    comparison = compared(runs)
    return Columns(
        folder=Path("nowhere"),
        comparison=changed(comparison, protocol=changed(comparison.protocol, resamples=RESAMPLES)),
        contenders=contenders,
        rule=Rule(),
        draws=replace(drawn(contenders, 0, RESAMPLES), validation=None),
        tables={one.name: (scored(one.runs[0].test),) for one in contenders},
        validation={one.name: () for one in contenders},
    )


class _State:
    """As much of FiftyOne's context as the panel asks."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.dataset = SimpleNamespace(info={"defect_detect": {"folder": "nowhere"}})
        self.panel_state, self.sent = state, {}
        self.panel = SimpleNamespace(get_state=state.get, set_state=state.__setitem__, set_data=self.sent.__setitem__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    from defect_detect.explore import columns
    from defect_detect.explore.plugin import panel as panels

    held = made(arguments.images)
    panel = panels.MissedDefects()
    panel.plugin_name = "measured"
    with mock.patch.object(columns, "load", return_value=held):
        for tab in ("agreement", "parts", "reasons", "misses"):
            wall, busy = [], []
            for run in range(arguments.runs + 1):
                state = {"settings": {"operating": "score"}, "score": 0.2 + 0.03 * run + 0.001 * len(tab), "tab": tab}
                context = _State(state)
                start, before = time.perf_counter(), os.times()
                panel.render(context)
                if run:  # the first one pays for imports
                    after = os.times()
                    wall.append(time.perf_counter() - start)
                    busy.append(after.user + after.system - before.user - before.system)
                assert context.sent["figures_3"]
            print(
                f"{arguments.images} images, 3 detectors, tab {tab:10} CPU {statistics.median(busy):.2f} s, "
                f"wall {statistics.median(wall):.2f} s (medians of {arguments.runs})"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
