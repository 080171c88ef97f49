"""Train one detector on a dataset's train split; its checkpoint is the one that misses least on val."""

from __future__ import annotations

import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = """
example:
  python tools/train.py dataset/ configs/maskrcnn/mask_rcnn_r50_fpn.yaml --set epochs=50 device=cuda:0
"""


def main() -> int:
    parser = options.parser(
        __doc__ or "", "--out", *options.DATASET, "--set", "--device", "--threads", "--trust-checkpoint",
        "--trust-config", *options.TILING, *options.WORK, epilog=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("config", type=Path, help="a detector config")
    arguments = parser.parse_args()

    def action() -> int:
        from rich.console import Console

        from defect_detect import comparing, config, facts, folder, runner, space, trials
        from defect_detect.doctor import before
        from defect_detect.report import progress

        console = Console(stderr=True)
        cut = options.tiling(arguments)
        made = config.read(arguments.config, options.overrides(arguments))
        out = options.out(arguments, "runs")
        before.check([made], out, [arguments.seed], jobs=1)
        with folder.at_work(out, facts.versions(), arguments.operator):
            root = comparing.prepare(options.source(arguments), out, console)
            comparing.measurable(root, training=True)
            space.check(out, [made], [arguments.seed], jobs=1)
            before.fetch([made], [arguments.seed], root=root, out=out, console=console)
            home = folder.run_folder(out, made.name, arguments.seed)
            shown = root if cut is None else trials.tiles(root, out, cut, console)
            with progress.board(console) as board:
                trained = trials.train(
                    made, arguments.seed, shown, home, board=board, workers=runner.Workers(arguments.stalled_after),
                    console=console, cut=cut,
                )  # fmt: skip
        story = trained.history
        print(
            f"{home / trained.outcome.checkpoint}: epoch {story.best_epoch} of {story.epochs},"
            f" mean FROC recall on validation {story.best_score:.3f}"
            + (" (still improving: train longer)" if story.under_trained else "")
        )
        return 0

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
