"""Files of weights that somebody gives: tensors by whatever reader is safe, everything else refused in a sentence."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from defect_detect import installed  # noqa: E402  torch is there
from defect_detect.backends import _weights  # noqa: E402
from defect_detect.errors import ConfigError, FrameworkMissing  # noqa: E402
from tests.test_resume import asked  # noqa: E402

pytestmark = pytest.mark.framework
TENSORS = {"backbone.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([1, 2])}


def scripted(path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


def test_tensors_are_read_from_safetensors_as_from_torchs_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    torch.save(TENSORS, tmp_path / "a.pth")
    safetensors.save_file(TENSORS, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        read = _weights.given(tmp_path / name, "")
        assert read.keys() == TENSORS.keys()
        assert all(torch.equal(read[key], TENSORS[key]) for key in TENSORS)


def test_a_detector_starts_alike_from_either(tmp_path: Path) -> None:
    if installed.missing("torchvision"):
        pytest.skip("torchvision is not installed")
    safetensors = pytest.importorskip("safetensors.torch")
    from defect_detect.backends._torchvision import models, weights

    wanted = asked("ssdlite")
    given = {key: value.contiguous() for key, value in models.build(wanted, 2).network.state_dict().items()}
    torch.save(given, tmp_path / "a.pth")
    safetensors.save_file(given, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        network = models.build(wanted, 2).network
        said = weights.initialize(network, asked("ssdlite", weights=str(tmp_path / name)))
        assert said.startswith(f"{tmp_path / name} sha256:")
        assert all(torch.equal(network.state_dict()[key], given[key]) for key in given)


def test_without_its_reader_a_safetensors_file_says_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(FrameworkMissing, match="pip install safetensors"):
        _weights.given(tmp_path / "a.safetensors", "")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.safetensors", b"", "a.safetensors: .*small"),
        ("a.safetensors", struct.pack("<Q", 1 << 60) + b"{}", "a.safetensors: .*large"),
        ("a.safetensors", struct.pack("<Q", 2) + b"no", "a.safetensors: .*header"),
        ("a.onnx", b"\x08\x07\x12\x07pytorch", "a.onnx: not a file of tensors"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "a.h5: not a file of tensors"),
        ("a.pt", b"", "a.pt: "),
        ("absent.pt", None, r"absent.pt: \[Errno 2\]"),
        ("weights.pt", None, r"weights.pt: \[Errno 2\]"),
        ("TorchScript.pt", None, r"TorchScript.pt: \[Errno 2\]"),
        ("absent.safetensors", None, "absent.safetensors: .*[Nn]o such file"),
        ("a.torchscript", scripted, "a TorchScript archive, which is a program"),
    ],
)  # fmt: skip
def test_what_holds_no_tensors_is_refused_without_torchs_advice(name, content, says, tmp_path):
    path = tmp_path / name
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        _weights.given(path, "")
    assert "weights_only" not in str(caught.value)
    assert "--set weights=none" in str(caught.value)
