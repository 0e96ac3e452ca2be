"""The examples of docs/training.md do what it says."""

import re
import sys
from pathlib import Path

import pytest

from services.training.choices import read_config
from services.training.networks.building import build
from services.training.settings import TrainingSettings
from tests.conftest import ROOT


def example(language: str) -> str:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


def test_the_network_can_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(example("python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    assert build("nets:wide", (20, 20, 3), 4).output_shape == (None, 4)
    del sys.modules["nets"]


def test_the_file_chooses_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "training.toml"
    path.write_text(example("toml"))
    chosen = read_config(path)
    assert chosen.settings_for("a/folder") == TrainingSettings(
        architecture="resnet",
        epochs=30,
        batch_size=32,
        learning_rate=2e-3,
        shift=0.07,
        rotation=10,
        zoom=0.1,
        flip=True,
        contrast=0.2,
    )
    assert chosen.data_options().image_size == 96


def test_every_option_that_the_text_names_is_one() -> None:
    from facet.cli import training_options

    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--([a-z][a-z-]+)", text)) - {"no-promote", "no-publish"}
    known = {
        re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
        for name, value in vars(training_options).items()
        if hasattr(value, "__metadata__")
    }
    assert named <= known | {"gateway"}
