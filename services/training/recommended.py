"""Hyperparameters that suit a data set and a network, where the user chooses none."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from services.training.data.loading import DIGITS, MNIST
from services.training.settings import TrainingSettings

_BY_DATA: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        DIGITS: {"epochs": 20, "batch_size": 32, "learning_rate": 1e-2, "shift": 0.07},
        # Strokes that are moved by more than a pixel would need a larger network.
        MNIST: {"epochs": 12, "batch_size": 128, "learning_rate": 4e-3, "shift": 0.04},
    }
)
_OTHERWISE: Final[Mapping[str, Any]] = MappingProxyType(
    {"epochs": 30, "batch_size": 32, "learning_rate": 2e-3, "shift": 0.07}
)
_BY_BOTH: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = MappingProxyType(
    {
        (DIGITS, "rnn"): {"learning_rate": 5e-3},
        (DIGITS, "resnet"): {"learning_rate": 3e-3},
        (MNIST, "rnn"): {"epochs": 5, "learning_rate": 3e-3, "shift": 0.0},
        (MNIST, "resnet"): {"epochs": 3, "learning_rate": 3e-3},
    }
)


def recommended(data: str, architecture: str) -> TrainingSettings:
    """Return settings for a data set, as `load_dataset` names it, and a network."""
    chosen = {**_BY_DATA.get(data, _OTHERWISE), **_BY_BOTH.get((data, architecture), {})}
    return TrainingSettings(architecture=architecture, **chosen)
