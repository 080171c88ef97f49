"""Large bad inputs are refused soon, by processes that stay small: 150 MB and three times the input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
LARGE = 12 * MIB

# The parent's own size would count as the child's peak: a small process in between starts the tool and measures it.
MEASURE = """
import os, resource, subprocess, sys
run = subprocess.run(sys.argv[1:], capture_output=True, text=True, timeout=300)
print(run.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, "Traceback" in run.stderr)
"""
ENTRY = b'{"image_id":1,"category_id":1,"bbox":[1,2,3,4],"score":0.5},'
SMALL = b'{"a":0},'
NAN = ENTRY.replace(b"[1,", b"[NaN,")
INPUTS: dict[str, Callable[[], bytes]] = {
    "brackets": lambda: b"[" * LARGE,
    "blanks": lambda: b" " * LARGE,
    "one string": lambda: b'"' + b"a" * LARGE + b'"',
    "escapes": lambda: b'"' + b"\\u00e9" * (LARGE // 6) + b'"',
    "backslashes": lambda: b'"' + b"\\\\" * (LARGE // 2) + b'"',
    "cut off": lambda: b"[" + ENTRY * (LARGE // len(ENTRY)),
    "boxes of NaN": lambda: b"[" + NAN * (LARGE // len(NAN)) + NAN[:-1] + b"]",
    "empty objects": lambda: b"[" + b"{}," * (LARGE // 3) + b"{}]",
    "empty annotations": lambda: b'{"images":[],"categories":[],"annotations":[' + b"{}," * (LARGE // 3) + b"{}]}",
    "small annotations": lambda: b'{"images":[],"categories":[],"annotations":[' + SMALL * (LARGE // 8) + b"0]}",
    "nested lists": lambda: b"[[" + b"[]," * (LARGE // 3) + b"[]]]",
    "keys": lambda: b'{"images":[],' + b",".join(b'"%07d":0' % each for each in range(LARGE // 12)) + b"}",
    "cut off at the end": lambda: b'{"images":[],"annotations":[' + ENTRY * (LARGE // len(ENTRY)) + b"{}]",
    "an emoji": lambda: '["\U0001f600"'.encode() + b',"a"' * (LARGE // 4),
    "binary": lambda: bytes(range(256)) * (LARGE // 256),
}

# Datasets of which every entry must be spoken of: so many fill 12 MiB, and each leaves a record or two.
SPOKEN: dict[str, tuple[str, str, str]] = {
    "NaN boxes": (
        '"bbox":[NaN,NaN,NaN,NaN],"area":12,"iscrowd":0', "quarantined", "box that is not four finite numbers",
    ),
    "boxes past the edge": (
        '"bbox":[60,2,9,4],"area":12,"iscrowd":0', "merged", "exact duplicate annotation",
    ),
}  # fmt: skip
PICTURES = 20


def spoken(folder: Path, fields: str) -> tuple[Path, int]:
    """A dataset of 12 MiB whose annotations have these fields, but for one sound one in each picture; their number."""
    from PIL import Image

    (folder / "images").mkdir()
    for number in range(PICTURES):
        Image.new("L", (64, 64), 5 * number).save(folder / f"images/{number}.png")
    images = ",".join(
        f'{{"id":{number},"file_name":"{number}.png","width":64,"height":64}}' for number in range(PICTURES)
    )
    count = LARGE // len(f'{{"id":100000,"image_id":10,"category_id":1,{fields}}},')
    ids = (f'{{"id":{number + 1},"image_id":{number % PICTURES},"category_id":1,' for number in range(count))
    sound = '"bbox":[20,20,30,30],"area":900,"iscrowd":0}'
    rows = [f"{start}{sound if number < PICTURES else fields + '}'}" for number, start in enumerate(ids)]
    path = folder / "large.json"
    path.write_text(f'{{"images":[{images}],"categories":[{{"id":1,"name":"x"}}],"annotations":[{",".join(rows)}]}}')
    return path, count


def peak(*command: object) -> tuple[int, int]:
    """Exit code and peak memory in bytes."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, *map(str, command)], capture_output=True, text=True, check=True
    )
    code, size, broken = run.stdout.split()
    assert broken == "False"
    return int(code), int(size)


@pytest.mark.parametrize("name", INPUTS)
def test_memory_stays_bounded(name: str, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(INPUTS[name]())
    allowed = 150 * 10**6 + 3 * path.stat().st_size

    code, size = peak(ROOT / "tools/normalize.py", path, "--images", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert size < allowed
    code, size = peak(ROOT / "tools/evaluate.py", tiny, "--predictions", f"a={path}", "--out", tmp_path / "judged",
                      "--policy", "score=0.5", "--no-fiftyone")  # fmt: skip
    assert code == 2
    assert size < allowed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SPOKEN)
def test_memory_stays_bounded_where_every_entry_is_spoken_of(name: str, tmp_path: Path) -> None:
    fields, action, rule = SPOKEN[name]
    path, count = spoken(tmp_path, fields)
    kept = PICTURES if action == "quarantined" else 2 * PICTURES

    code, size = peak(ROOT / "tools/normalize.py", path, "--images", tmp_path / "images", "--out", tmp_path / "out")
    assert code == 0
    assert size < 150 * 10**6 + 3 * path.stat().st_size

    said = json.loads((tmp_path / "out/dataset.json").read_text())["annotations"]
    assert (said["given"], said["kept"], said[action]) == (count, kept, count - kept)
    assert said["dropped"] == {rule: count - kept}
    lines = [json.loads(line) for line in (tmp_path / "out/repairs.jsonl").read_text().splitlines()]
    out = [line for line in lines if line["action"] == action and line["what"] == rule]
    places = [int(re.search(r"annotations\[(\d+)\]", line["where"])[1]) for line in out]
    assert len(set(places)) == len(out) == count - kept
    if action == "quarantined":
        assert places == sorted(places)
        assert {line["split"] for line in out} == {"train", "val", "test"}
