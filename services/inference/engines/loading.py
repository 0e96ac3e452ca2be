"""From a version in the repository to an engine that is fit to serve it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.common.errors import InternalError, ModelRefusedError
from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from services.inference.engines.batch_plan import BatchPlan
from services.inference.engines.interface import Engine
from services.inference.engines.selection import AUTO, select_engine
from services.inference.memory import resident_bytes


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that is loaded, warm, and was seen to give its golden examples' scores."""

    manifest: Manifest
    engine: Engine
    plan: BatchPlan
    """How the engine cuts batches."""
    golden_difference: float
    """The largest difference of a score from the golden examples."""
    memory_bytes: int
    """By how much the process grew, and no less than the artefact's size: what is allocated and
    freed elsewhere meanwhile distorts it."""


def load_version(
    repository: ModelRepository,
    name: str,
    version: int,
    *,
    batch_sizes: Sequence[int],
    preference: str = AUTO,
    threads: int = 1,
    measure: Callable[[Manifest], Mapping[int, float]] | None = None,
) -> LoadedVersion:
    """Check, load, warm and try a version; takes .1 s with LiteRT, some seconds with others.

    `measure` tells what each batch size takes, of engines that can be tried in another process;
    without it, and of the others, that is measured here.

    Raises ModelNotFoundError when there is no such version, ModelRefusedError when it must not be
    served: a file is not whole, no engine can run it here, it fails when it is warmed, or its
    outputs are wrong. Then nothing stays loaded.
    """
    manifest = repository.load_manifest(name, version)
    if manifest.golden is None:
        raise ModelRefusedError(f"{name}:{version} is an ensemble: its members are run, not itself")
    kind = select_engine(manifest, preference)
    golden = repository.golden_examples(manifest)
    path = repository.artefact_path(manifest, kind.format_of(manifest))
    seconds = measure(manifest) if measure is not None and kind.tried_apart else None
    kind.prepare()
    before = resident_bytes()
    engine = kind.load(path, manifest, threads=threads)
    try:
        plan = engine.warm(batch_sizes) if seconds is None else engine.adopt(seconds)
        difference = golden.check(engine.run, manifest.golden.tolerance)
    except (InternalError, ModelRefusedError) as error:
        engine.close()
        raise ModelRefusedError(f"{name}:{version} on {kind.name}: {error.message}") from error
    except BaseException:
        engine.close()
        raise
    memory_bytes = max(resident_bytes() - before, path.stat().st_size)
    return LoadedVersion(manifest, engine, plan, difference, memory_bytes)
