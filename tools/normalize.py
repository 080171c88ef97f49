"""Check and repair an export of annotations, and write it as a dataset that every detector here can use."""

from __future__ import annotations

import sys

from defect_detect import options

EXAMPLES = r"""
examples:
  python tools/normalize.py export.json --images images/ --out dataset/
  python tools/normalize.py export/ --out dataset/ --scale 48/mm --severity crack=critical --accept-below scratch=0.2
  python tools/normalize.py yolo_folder/ --out dataset/ --group-pattern 'board(\d+)'
  python tools/normalize.py export.json --out fold2/ --group-similar --fold 2/5

COCO, YOLO, Pascal VOC, CVAT, LabelMe, Supervisely, Severstal's CSV and folders of masks are read (docs/formats.md).
One file is split into train, val and test; a folder with train.json, val.json and test.json is taken as it is.
"""


def main() -> int:
    parser = options.parser(
        __doc__ or "", "--out", *options.DATASET, epilog=EXAMPLES,
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.out is None:
        parser.error("--out DIR is needed: the dataset is written there")

    def action() -> int:
        from rich.console import Console

        from defect_detect import comparing
        from defect_detect.data.repairs import Refused
        from defect_detect.report.normalized import print_normalized, print_refused

        try:
            made = comparing.normalized_to(options.source(arguments), arguments.out, Console(stderr=True))
        except Refused as error:
            print_refused(error, Console(stderr=True))
            raise
        print_normalized(made, Console())
        return 0

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
