"""Make the environment of a framework: an interpreter with it and this package, where comparisons find it."""

from __future__ import annotations

import sys
from pathlib import Path

from defect_detect import options

EXAMPLES = """
examples:
  python tools/make_env.py mmdet
  python tools/make_env.py mmdet --compile
  python tools/make_env.py detectron2 --source ~/detectron2
  python tools/make_env.py ultralytics torchvision mmdet --together

Each is made beside the old one, trains and predicts on a few pictures, and only then takes its place. Run it again, and
it goes on where it stopped. About 5 GB each: torch comes with its CUDA libraries. See docs/environments.md.
Exit codes: 0 done; 1 something failed; 2 the input is at fault, or something can't be had.
"""


def main() -> int:
    parser = options.plain(__doc__ or "", epilog=EXAMPLES)
    parser.add_argument("frameworks", nargs="+", metavar="FRAMEWORK", help="a backend's name, or all")
    parser.add_argument("--envs", type=Path, metavar="DIR",
                        help="folder of the environments (default: where comparisons look first)")  # fmt: skip
    parser.add_argument("--python", type=Path, metavar="FILE", help="the Python to make it with (default: this one)")
    parser.add_argument("--together", action="store_true", help="one environment for all that are named")
    parser.add_argument("--compile", action="store_true",
                        help="mmdet: compile mmcv with all its operators (some 30 CPU minutes, once)")  # fmt: skip
    parser.add_argument("--source", metavar="PLACE",
                        help="detectron2's: a folder, an archive, a git URL (default: its home)")  # fmt: skip
    parser.add_argument("--cuda", choices=["auto", "yes", "no"], default="auto",
                        help="compile with CUDA kernels (default: where a GPU and its nvcc are)")  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N", help="files compiled at once (default: as memory allows)")
    parser.add_argument("--fresh", action="store_true", help="make it anew, even where one like it is there")
    parser.add_argument("--upgrade", action="store_true",
                        help="the newest versions that suit, not those that were tested together")  # fmt: skip
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="take packages from this folder, from no registry")
    parser.add_argument("--installer", choices=["auto", "uv", "pip"], default="auto",
                        help="what installs packages (default: uv where it is there)")  # fmt: skip
    arguments = parser.parse_args()

    def action() -> int:
        from defect_detect.environments import asked

        return asked.run(
            arguments.frameworks, envs=arguments.envs, python=arguments.python, together=arguments.together,
            compiled=arguments.compile, source=arguments.source, cuda=arguments.cuda, jobs=arguments.jobs,
            fresh=arguments.fresh, upgrade=arguments.upgrade, wheels=arguments.wheels, installer=arguments.installer,
        )  # fmt: skip

    return options.ended(action)


if __name__ == "__main__":
    sys.exit(main())
