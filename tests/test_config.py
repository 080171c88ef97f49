"""Detector configs: typed, every mistake named at once."""

from pathlib import Path

import pytest

from defect_detect import config, options
from defect_detect.errors import ConfigError

GOOD = "framework: classical\nmodel: threshold\nepochs: 3\n"


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def faults(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.read(path, overrides)
    return str(caught.value)


def test_a_config_is_named_for_its_file(tmp_path: Path) -> None:
    made = config.read(write(tmp_path, GOOD))

    assert (made.name, made.framework, made.model, made.settings.epochs) == ("mine", "classical", "threshold", 3)


def test_overrides_lie_over_the_file(tmp_path: Path) -> None:
    made = config.read(write(tmp_path, GOOD), ["epochs=7", "options.sigma=2.5", "learning_rate=0.01"])

    assert (made.settings.epochs, made.options, made.settings.learning_rate) == (7, {"sigma": 2.5}, 0.01)


def test_an_unknown_key_is_refused_with_the_near_one(tmp_path: Path) -> None:
    assert "Did you mean 'epochs'?" in faults(write(tmp_path, GOOD + "epoch: 3\n"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    said = faults(
        write(tmp_path, "framework: clasical\nmodel: threshold\nepochs: '3'\nbatch: 0\ndevice: gpu\nextra: 1\n")
    )

    for word in ("clasical", "epochs", "batch", "device", "extra"):
        assert word in said


@pytest.mark.parametrize("text", ["[1, 2]", "framework: [", "a: 1\na: 2\n", "x: !!python/object:os.system 1", "\t", ""])
def test_what_is_no_mapping_of_plain_values_is_refused(tmp_path: Path, text: str) -> None:
    assert str(tmp_path) in faults(write(tmp_path, text))


def test_a_missing_config_names_the_shipped_one(tmp_path: Path) -> None:
    assert "configs/baseline/classical.yaml" in faults(tmp_path / "clasical.yaml")


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=[", "epochs.x=3"])
def test_a_malformed_override_is_refused(tmp_path: Path, override: str) -> None:
    assert "--set" in faults(write(tmp_path, GOOD), override)


SHIPPED = sorted((Path(__file__).parents[1] / "configs").glob("*/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path: Path) -> None:
    assert config.read(path).name == path.stem


def test_the_default_detectors_are_shipped() -> None:
    assert all(options.shipped_config(name) in SHIPPED for name in options.DEFAULT_DETECTORS)
