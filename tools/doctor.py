"""What works on this machine and what doesn't: frameworks, GPU, memory, disk, FiftyOne's database."""

from __future__ import annotations

import sys

from defect_detect import options

EXAMPLES = """
examples:
  python tools/doctor.py
  python tools/doctor.py mmdet detectron2
  python tools/doctor.py --quick --json > machine.json

Each framework that is installed trains an epoch on four small pictures and predicts, in the process that comparisons
would use. --json is described in docs/environments.md.
Exit codes: 0 all that was asked for works; 1 something doesn't; 2 the input is at fault. Asked for are the frameworks
that are named, else all that are installed and FiftyOne; what isn't installed and wasn't named is no fault.
"""


def main() -> int:
    parser = options.plain(__doc__ or "", epilog=EXAMPLES)
    parser.add_argument("frameworks", nargs="*", metavar="FRAMEWORK", help="that must work (default: all installed)")
    parser.add_argument("--quick", action="store_true", help="import, train and start nothing; seconds, not minutes")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="to try on: auto | cpu | cuda:0")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard output")
    parser.add_argument("--limit", type=float, default=300.0, metavar="SECONDS",
                        help="that a training or a prediction may take (default: %(default)g)")  # fmt: skip
    arguments = parser.parse_args()

    def action() -> int:
        from defect_detect.doctor import printed

        return printed.run(
            arguments.frameworks, quick=arguments.quick, device=arguments.device, limit=arguments.limit,
            as_json=arguments.json,
        )  # fmt: skip

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
