"""What a trained network says of pictures."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.common.models.normalisation import Normalisation
from services.training.fusion import fuse

BATCH: Final = 256


def scores_of(
    model: Any, normalisation: Normalisation, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Return the scores [n, classes] of a keras.Model for pictures [n, height, width, channels]."""
    height, width, channels = images.shape[1:]
    fused = fuse(model, (height, width, channels), normalisation)
    starts = range(0, len(images), BATCH)
    parts = [fused(images[start : start + BATCH], training=False) for start in starts]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])
