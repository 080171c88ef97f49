"""Judge predictions that exist already: nothing is trained, no framework is needed."""

from __future__ import annotations

import sys

from defect_detect import options

EXAMPLES = """
example:
  python tools/evaluate.py dataset/ --predictions a:val=a_val.json a:test=a.json b:val=b_val.json b:test=b.json

Files are COCO results; images are named by `file_name`, or by the ids of the dataset's own file for that split.
NAME=FILE means test only: without predictions on validation only the policy score=X can be judged.
"""


def main() -> int:
    parser = options.parser(
        __doc__ or "", "--images", "--out", "--policy", "--iou", "--group", "--scale", "--severity",
        "--accept-below", "--seed", "--resamples", "--strict", "--allow", "--no-fiftyone", epilog=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("--predictions", nargs="+", required=True, metavar="NAME:SPLIT=FILE")
    arguments = parser.parse_args()

    def action() -> int:
        from defect_detect import comparing

        return comparing.run(
            options.source(arguments),
            options.out(arguments, "runs", suffix="-evaluated"),
            detectors=[],
            given=arguments.predictions,
            judging=options.judging(arguments),
            fiftyone=not arguments.no_fiftyone,
        )

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
