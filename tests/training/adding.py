"""Adding models as users do, their choices by keyword."""

from pathlib import Path
from typing import Any

from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from services.training import adding
from services.training.progress import Tell, silent


def add_model(
    repository: ModelRepository,
    name: str,
    file: Path,
    *,
    real_images: Any = None,
    tell: Tell = silent,
    notice: Tell = silent,
    **choices: Any,
) -> Manifest:
    """Add a file with these fields of `Choices`."""
    return adding.add_model(
        repository,
        name,
        file,
        adding.Choices(**choices),
        real_images=real_images,
        tell=tell,
        notice=notice,
    )
