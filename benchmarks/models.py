"""The models that benchmarks serve: made once, kept until the code that makes them changes."""

import hashlib
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


def test_data() -> Path:
    """The folder of real test data; exits when there is none."""
    folder = Path(os.environ.get("FACET_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"there is no folder {folder}; FACET_TEST_DATA names the test data")
    return folder


def digits_repository() -> Path:
    """A repository with the small CNN, trained on scikit-learn's digits (28 x 28)."""
    return _made(DIGITS, ("train", DIGITS))


def photograph_repository() -> Path:
    """A repository with MobileNetV2 (224 x 224), added from the test data."""
    models = test_data() / "models"
    file = models / "mobilenet_v2_100_224_ptq.keras"
    labels = models / "imagenet_classes_1000.csv"
    return _made(
        PHOTOGRAPHS,
        (
            *("models", "add", PHOTOGRAPHS, str(file), "--labels", str(labels)),
            *("--preprocessing", "tf", "--resize", "256", "--crop", "224"),
        ),
    )


def _made(name: str, command: Sequence[str]) -> Path:
    made = CACHE / f"{name}-{_key(command)}"
    if not made.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="making-") as home:
            # A process of its own, so that TensorFlow's memory goes with it.
            run = (sys.executable, "-m", "facet.cli.app", *command, "--home", home)
            subprocess.run(run, check=True, stdout=sys.stderr)
            (Path(home) / "models").rename(made)
    return made


def _key(command: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(command).encode())
    for folder in ("common/models", "training"):
        for source in sorted((ROOT / "services" / folder).rglob("*.py")):
            digest.update(source.read_bytes())
    for package in ("keras", "ai-edge-litert"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:16]
