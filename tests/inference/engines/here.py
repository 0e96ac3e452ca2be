"""The engines that one process can run: Keras is on one backend in each."""

from typing import Final

from services.inference.engines.selection import is_installed

KERAS_ENGINE: Final = "tensorflow" if is_installed("tensorflow") else "jax"
"""What runs .keras artefacts in this process; see `without_tensorflow`."""

ENGINES_HERE: Final = ("litert", KERAS_ENGINE)
