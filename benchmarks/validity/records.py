"""Results as lines of JSON, one a dataset: a run that was ended goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OFTEN = 100


def path_of(root: Path, name: str) -> Path:
    """The file of a scenario."""
    return root / f"{name.replace(' ', '_').replace(',', '')}.jsonl"


def read(root: Path, name: str) -> list[dict[str, Any]]:
    """Its datasets, none where it wasn't simulated. A line that was cut off is left out."""
    path = path_of(root, name)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def fill(root: Path, name: str, datasets: int, simulate: Callable[[int], dict[str, object]]) -> None:
    """Bring the scenario's file to `datasets` lines, and say how it goes."""
    root.mkdir(parents=True, exist_ok=True)
    path, there = path_of(root, name), read(root, name)
    path.write_text("".join(f"{json.dumps(one)}\n" for one in there))
    begin = time.process_time()
    with path.open("a") as file:
        for number in range(len(there), datasets):
            file.write(json.dumps(simulate(number)) + "\n")
            if number % _OFTEN == _OFTEN - 1:
                file.flush()
                spent = (time.process_time() - begin) / (number + 1 - len(there))
                print(f"{name}: {number + 1} of {datasets}, {1000 * spent:.0f} ms each", flush=True)
