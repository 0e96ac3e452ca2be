"""Keras on the backend that an engine needs."""

import os
import sys
from typing import Any

from services.common.errors import ModelRefusedError
from services.common.models.spared_imports import TRIED, spared


def import_keras(backend: str) -> Any:
    """Import Keras on a backend, "tensorflow" or "jax", and return it.

    The first import of a process settles the backend for good: Keras reads KERAS_BACKEND then,
    so that it is set here and nowhere else. Raises ModelRefusedError when this process runs Keras
    on another backend already.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    with spared(*(package for package in TRIED if package != backend)):
        import keras

    if (running := keras.config.backend()) != backend:
        raise ModelRefusedError(
            f"this process runs Keras on {running}, and can run it on one backend only: "
            f"not on {backend}"
        )
    return keras
