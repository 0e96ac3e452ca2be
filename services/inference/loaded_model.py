"""One version as a shard holds it: loaded, warm, measured and described."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from facet.type.v1 import model_pb2
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from services.common.scheduling.costs import Cost, Ran, prior
from services.inference.engines.loading import LoadedVersion, load_version

PIECE_SECONDS: Final = 0.25e-3
"""CPU time that the cluster spends on the way of one piece."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that can run."""

    key: ModelKey
    version: LoadedVersion
    descriptor: model_pb2.ModelDescriptor


def load_model(
    repository: ModelRepository,
    key: ModelKey,
    measure: Callable[[Manifest], Mapping[int, float]] | None = None,
    *,
    engine: str,
    threads: int,
    max_batch: int,
) -> LoadedModel:
    """Load, verify and warm one version; ModelRefusedError with the reason when it must not run.

    `measure`: see load_version.
    """
    loaded = load_version(
        repository,
        key.name,
        key.version,
        batch_sizes=warm_sizes(max_batch),
        preference=engine,
        threads=threads,
        measure=measure,
    )
    cost = prior(Ran(size, loaded.plan.seconds(size)) for size in warm_sizes(max_batch))
    descriptor = loaded.manifest.to_descriptor(max_batch=max_batch, engine=loaded.engine.name)
    descriptor.batch_seconds = cost.a
    descriptor.image_seconds = cost.c
    descriptor.piece_images = piece_images(cost, max_batch)
    return LoadedModel(key, loaded, descriptor)


def piece_images(cost: Cost, max_batch: int) -> int:
    """Return how many images of one request to keep together.

    At 2a/c images the fixed cost of a batch is a third of it: larger pieces gain little and
    leave other shards idle. What the cluster spends on a piece counts as part of a.
    """
    wanted = round(2 * (cost.a + PIECE_SECONDS) / cost.c)
    return min(max(wanted, 1), max_batch)


def warm_sizes(max_batch: int) -> list[int]:
    """Batch sizes to warm: the powers of two up to `max_batch`, and `max_batch`."""
    return sorted({*(1 << power for power in range(max_batch.bit_length())), max_batch})
