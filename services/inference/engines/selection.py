"""Which engine runs a version here."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final

import structlog

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.manifest import Manifest
from services.inference.engines.interface import Engine
from services.inference.engines.jax import JaxEngine
from services.inference.engines.litert import LiteRtEngine
from services.inference.engines.tensorflow import TensorFlowEngine

log = structlog.get_logger(__name__)

# In the order of preference. On a CPU LiteRT is the quickest, and JAX takes ten times TensorFlow's
# time for the convolutions of mobile networks. A GPU machine has TensorFlow or JAX, and no LiteRT.
ENGINES: Final[Mapping[str, type[Engine]]] = {
    engine.name: engine for engine in (LiteRtEngine, TensorFlowEngine, JaxEngine)
}
AUTO: Final = "auto"


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported here, without importing it."""
    return find_spec(package) is not None


def select_engine(
    manifest: Manifest,
    preference: str = AUTO,
    installed: Callable[[str], bool] = is_installed,
) -> type[Engine]:
    """Return the engine for a version: the preferred one, or with "auto" the first that can.

    A line in the log tells which were passed over, and why.

    Raises ModelRefusedError, saying what is missing, when none can run it here, and
    InvalidRequestError for a preference that is no engine's name.
    """
    if preference == AUTO:
        candidates = list(ENGINES.values())
    elif preference in ENGINES:
        candidates = [ENGINES[preference]]
    else:
        raise InvalidRequestError(
            f"the engine must be one of {', '.join((AUTO, *ENGINES))}, not {preference!r}"
        )
    obstacles = []
    for engine in candidates:
        if manifest.artefact(engine.format_of(manifest)) is None:
            formats = " or ".join(engine.artefact_formats)
            obstacles.append(f"{engine.name} needs a {formats} artefact")
        elif missing := [package for package in engine.packages if not installed(package)]:
            obstacles.append(f"{engine.name} needs {' and '.join(missing)} to be installed")
        else:
            if obstacles:
                log.info(
                    "falls back to another engine",
                    model=f"{manifest.name}:{manifest.version}",
                    engine=engine.name,
                    because="; ".join(obstacles),
                )
            return engine
    raise ModelRefusedError(
        f"no engine can run {manifest.name}:{manifest.version} here: {'; '.join(obstacles)}"
    )
