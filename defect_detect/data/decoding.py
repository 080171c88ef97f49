"""The process that looks into pictures, so that one that crashes a decoder ends this and nothing else.

`python -I -m defect_detect.data.decoding` answers each line of its input, a `Task`, with one of its
output, `Facts`. `pictures` starts as many as there are cores.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import msgspec

from defect_detect.data import pixels
from defect_detect.data.files import sha256_file
from defect_detect.data.similar import sketch
from defect_detect.errors import DatasetError, Fault

_MEMORY = 12 << 30
"""Bytes of address space: a picture of MAX_PIXELS needs less, and a bomb's decoder fails cleanly."""


class Task(msgspec.Struct, frozen=True, array_like=True):
    """A picture to look at, and where to put it as an 8-bit PNG (empty: nowhere); bytes of paths."""

    path: bytes
    target: bytes = b""


class Facts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a picture file is; sizes in px.

    width, height  as shown, after EXIF orientation
    stored         width and height before it
    unlike         why decoders would not agree on it, so that it must be re-encoded; `` if they do
    remark         what is odd about it, but harmless; ``
    sha256         of the file's bytes, or of the re-encoded one's
    shown          SHA-256 of what every detector is shown: size and pixels
    sketch         its difference hash (`similar.sketch`)
    broken         why it can't be used, or ``
    """

    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    unlike: str = ""
    remark: str = ""
    sha256: str = ""
    broken: str = ""
    shown: str = ""
    sketch: str = ""


def look(task: Task) -> Facts:
    """Decode the picture from its first byte to its last; re-encode it if the task says where to."""
    path, target = Path(os.fsdecode(task.path)), Path(os.fsdecode(task.target))
    try:
        head = pixels.header(path)
        shown = pixels.read(path)
        if task.target:
            from PIL import Image

            Image.fromarray(shown).save(target, format="PNG")
        sha256 = sha256_file(target if task.target else path)
    except DatasetError as error:
        fault = error.faults[0]
        return Facts(broken=fault.found if isinstance(fault, Fault) else str(fault))
    except MemoryError:
        return Facts(broken="more memory needed than a picture may take")
    except OSError as error:
        return Facts(broken=error.strerror or str(error))
    height, width = shown.shape[:2]
    return Facts(
        width=width, height=height, stored=head.stored, unlike=head.unlike, remark=head.remark, sha256=sha256,
        shown=hashlib.sha256(f"{width} x {height} ".encode() + shown.tobytes()).hexdigest(), sketch=sketch(shown),
    )  # fmt: skip


def main() -> None:
    """Answer until the input ends."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    decoder, encoder = msgspec.json.Decoder(Task), msgspec.json.Encoder()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(encoder.encode(look(decoder.decode(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
