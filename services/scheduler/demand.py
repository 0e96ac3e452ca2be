"""How much each model was asked for lately: what decides which models are held in memory."""

import math
from typing import Final, NamedTuple

from services.common.models.key import ModelKey

WINDOW_S: Final = 60.0
"""What was asked for so long ago counts 1/e."""
FORGOTTEN: Final = 1e-3
"""Images that count for none: a single one is forgotten after seven windows."""


class _Asked(NamedTuple):
    images: float
    at: float


class Demand:
    """Images asked for, by model, fading with time. Not thread-safe."""

    def __init__(self) -> None:
        self._asked: dict[ModelKey, _Asked] = {}

    def asked(self, model: ModelKey, images: int, now: float) -> None:
        """Count a request."""
        self._asked[model] = _Asked(self.of(model, now) + images, now)

    def of(self, model: ModelKey, now: float) -> float:
        """Return the images that a model was asked for lately; late ones count more."""
        asked = self._asked.get(model)
        if asked is None:
            return 0.0
        images = asked.images * math.exp((asked.at - now) / WINDOW_S)
        if images < FORGOTTEN:
            del self._asked[model]
            return 0.0
        return images
