from typing import Any

import pytest

from services.common.errors import InvalidRequestError
from services.training.settings import TrainingSettings


def test_every_setting_is_recorded() -> None:
    record = TrainingSettings(epochs=3).to_record()
    assert record["epochs"] == 3
    assert set(record) == {
        "architecture",
        "epochs",
        "batch_size",
        "learning_rate",
        "seed",
        "shift",
        "rotation",
        "zoom",
        "flip",
        "contrast",
    }


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"shift": 1.0},
        {"shift": -0.1},
        {"zoom": 1.0},
        {"contrast": -0.1},
        {"rotation": 181.0},
        {"rotation": float("nan")},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_senseless_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        TrainingSettings(**setting)
