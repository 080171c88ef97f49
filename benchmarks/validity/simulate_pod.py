"""Simulated sizes and hits through the real POD: does a90/95 bound the true a90?

python benchmarks/validity/simulate_pod.py [--out DIR] [--datasets 1000] [--resamples 500] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import records
from scenarios import POD, Sizes
from scipy import special

from defect_detect.evaluation.pod import pod
from defect_detect.evaluation.resampling import draw


def simulate(scenario: Sizes, number: int, resamples: int) -> dict[str, object]:
    """What POD says of one dataset, beside the true a90."""
    rng = np.random.default_rng([zlib.crc32(scenario.name.encode()), number])
    unit = np.repeat(np.arange(scenario.units), rng.integers(1, scenario.most + 1, scenario.units))
    log_size = 1 + rng.normal(size=len(unit))
    # Uniform by itself, alike within a unit: what a size's POD is doesn't depend on the clustering.
    latent = np.sqrt(scenario.alike) * rng.normal(size=scenario.units)[unit]
    luck = special.ndtr(latent + np.sqrt(1 - scenario.alike) * rng.normal(size=len(unit)))
    found = (luck < special.expit(scenario.intercept + scenario.slope * log_size)).astype(int)
    weights = draw(np.random.default_rng([0, 0]), scenario.units, resamples)
    curve = pod(np.exp(log_size), found, unit, weights=weights)
    return {
        "number": number,
        "status": curve.status,
        "why": curve.why,
        "a90": curve.a90,
        "a90_95": curve.a90_95,
        "truth": float(np.exp((special.logit(0.9) - scenario.intercept) / scenario.slope)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "validity")
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    said = parser.parse_args()
    for scenario in (one for one in POD if not said.only or one.name in said.only):
        records.fill(said.out, scenario.name, said.datasets, partial(simulate, scenario, resamples=said.resamples))


if __name__ == "__main__":
    main()
