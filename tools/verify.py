"""Does a comparison's folder still prove what it says? Checks every hash and derives every figure again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = """
examples:
  python tools/verify.py runs/line4
  python tools/verify.py runs/line4 --json

Exit codes: 0 all as it was; 1 it failed; 2 no finished comparison, or one that is being written; 3 something changed.
Nothing is written. Hashed are pictures, annotations, checkpoints, predictions, manifests and reports; comparison.json,
ledger.csv, comparison.md and report.html are derived again from predictions and annotations, and compared byte by byte.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comparison", type=Path, help="folder of a comparison, as compare.py or evaluate.py wrote it")
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    arguments = parser.parse_args()

    def action() -> int:
        import msgspec
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        from defect_detect import verifying

        columns = (TextColumn("hashing pictures"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)
            told = verifying.verify(arguments.comparison, lambda done, of: bar.update(task, completed=done, total=of))
        if arguments.json:
            print(msgspec.json.format(msgspec.json.encode(told), indent=1).decode())
            return 3 if told.findings else 0
        for note in told.notes:
            print(f"note: {note}")
        for one in told.findings:
            print(f"{one.kind}: {one.where}: expected {one.expected}, found {one.found}")
        looked = f"{told.files} files, {told.pictures} pictures and {told.figures} figures"
        print(f"{looked}: {len(told.findings)} not as they were" if told.findings else f"{looked}: all as they were")
        return 3 if told.findings else 0

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
