"""`python -I -m defect_detect.doctor.fetching JOB MASKS`: brings the pretrained weights that a training starts from.

Runs in the interpreter that will train. JOB is the training's JSON, MASKS `yes` where the dataset has regions. Answers
one JSON object: `faults`, in words; empty where the weights are at hand, or the backend can't say.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from defect_detect import backends, job
from defect_detect.errors import DefectDetectError, InputError


def main() -> None:
    """Run as a program."""
    wire = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # frameworks print
    wanted = job.decode_job(sys.argv[1].encode())
    faults: list[str] = []
    try:
        if isinstance(wanted, job.TrainJob):
            # Not every backend has weights to fetch.
            fetch: Any = getattr(backends.load(wanted.framework), "fetch", None)
            if fetch is not None:
                with contextlib.redirect_stdout(sys.stderr):
                    fetch(wanted, masks=sys.argv[2] == "yes")
    except InputError as error:
        faults = [str(fault) for fault in error.faults]
    except DefectDetectError as error:
        faults = [str(error)]
    wire.write(json.dumps({"faults": faults}))
    wire.close()


if __name__ == "__main__":
    main()
