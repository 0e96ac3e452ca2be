"""Which engine runs a version here."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.manifest import Manifest
from services.inference.engines.interface import Engine
from services.inference.engines.litert import LiteRtEngine
from services.inference.engines.tensorflow import TensorFlowEngine

# In the order of preference: where both can run a version, LiteRT is quicker on a CPU; a GPU
# machine has TensorFlow alone.
ENGINES: Final[Mapping[str, type[Engine]]] = {
    engine.name: engine for engine in (LiteRtEngine, TensorFlowEngine)
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

    Raises ModelRefusedError, saying what is missing, when none can run it here, and
    InvalidRequestError for a preference that is no engine's name.
    """
    if preference == AUTO:
        candidates = list(ENGINES.values())
    elif preference in ENGINES:
        candidates = [ENGINES[preference]]
    else:
        raise InvalidRequestError(
            f"the engine must be {AUTO}, {' or '.join(ENGINES)}, not {preference!r}"
        )
    obstacles = []
    for engine in candidates:
        if manifest.artefact(engine.artefact_format) is None:
            obstacles.append(f"{engine.name} needs a {engine.artefact_format} artefact")
        elif not installed(engine.package):
            obstacles.append(f"{engine.name} needs {engine.package} to be installed")
        else:
            return engine
    raise ModelRefusedError(
        f"no engine can run {manifest.name}:{manifest.version} here: {'; '.join(obstacles)}"
    )
