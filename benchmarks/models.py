"""The models that benchmarks serve: made once, kept until the code that makes them changes."""

import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".facet" / "benchmarks"
DIGITS: Final = "digits"
PHOTOGRAPHS: Final = "mobilenet_v2"
PAIR: Final = "pair"
"""An ensemble of two versions of PHOTOGRAPHS."""
TRAIN_DIGITS: Final = ("train", DIGITS, "--wait", "0")


def test_data() -> Path:
    """The folder of real test data; exits when there is none."""
    folder = Path(os.environ.get("FACET_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"there is no folder {folder}; FACET_TEST_DATA names the test data")
    return folder


def digits_repository() -> Path:
    """A repository with the small CNN, trained on scikit-learn's digits (28 x 28)."""
    return _made(DIGITS, TRAIN_DIGITS)


def digits_place() -> Path:
    """Where `digits_repository` keeps what it made."""
    return _place(DIGITS, TRAIN_DIGITS)


def photograph_repository() -> Path:
    """A repository with MobileNetV2 (224 x 224), added from the test data."""
    return _made(PHOTOGRAPHS, _add_photographs("ptq"))


def ensemble_repository() -> Path:
    """The same with a second version, trained otherwise, and the mean of both."""
    members = (f"{PHOTOGRAPHS}:1", f"{PHOTOGRAPHS}:2")
    return _made(
        PAIR,
        _add_photographs("ptq"),
        _add_photographs("qat"),
        ("models", "ensemble", PAIR, *members),
    )


def _add_photographs(variant: str) -> Sequence[str]:
    models = test_data() / "models"
    file = models / f"mobilenet_v2_100_224_{variant}.keras"
    labels = models / "imagenet_classes_1000.csv"
    return (
        *("models", "add", PHOTOGRAPHS, str(file), "--labels", str(labels)),
        *("--preprocessing", "tf", "--resize", "256", "--crop", "224"),
    )


def _place(name: str, *commands: Sequence[str]) -> Path:
    return CACHE / f"{name}-{_key(commands)}"


def _made(name: str, *commands: Sequence[str]) -> Path:
    made = _place(name, *commands)
    if not made.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="making-") as home:
            for command in commands:
                # A process of its own, so that TensorFlow's memory goes with it.
                run = (sys.executable, "-m", "facet.cli.app", *command, "--home", home)
                subprocess.run(run, check=True, stdout=sys.stderr)
            (Path(home) / "models").rename(made)
    return made


def _key(commands: Sequence[Sequence[str]]) -> str:
    digest = hashlib.sha256("\n".join(itertools.chain(*commands)).encode())
    for folder in ("common/models", "training"):
        for source in sorted((ROOT / "services" / folder).rglob("*.py")):
            digest.update(source.read_bytes())
    for package in ("keras", "ai-edge-litert"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:16]
