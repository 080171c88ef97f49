"""Judge predictions that exist already: nothing is trained, no framework is needed."""

from __future__ import annotations

import sys

from defect_detect import options

EXAMPLES = """
examples:
  python tools/evaluate.py dataset/ --predictions a:val=a_val.json a:test=a.json b:val=b_val.json b:test=b.json

  python tools/evaluate.py dataset/ --predictions a:val=a_val.json a:test=a.json --fail-if "fnr > 0.05" "escape > 0.01"
  python tools/evaluate.py dataset/ --predictions a:val=a_val.json a:test=a.json \\
      --baseline runs/old --fail-if "worse than baseline, p < 0.05"

Exit codes: 0 done; 1 something failed; 2 the input is at fault; 3 done, and a condition of --fail-if holds.
Files are COCO results; images are named by `file_name`, or by the ids of the dataset's own file for that split.
NAME=FILE means test only: without predictions on validation only the policy score=X can be judged.
"""


def main() -> int:
    parser = options.parser(
        __doc__ or "", "--out", *options.DATASET, *options.JUDGING, "--no-fiftyone", "--operator", epilog=EXAMPLES,
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
            operator=arguments.operator,
        )

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
