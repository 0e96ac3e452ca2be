"""Ensembles of models whose scores a test can foretell, on shards of which each serves one."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from facet.recognition.v1 import recognition_pb2
from gateway.__main__ import Gateway
from gateway.requests import Output
from services.common.errors import FacetError
from services.common.models.assembly import publish_ensemble
from services.common.models.input_spec import InputSpec
from services.common.models.key import ModelKey
from services.common.models.manifest import MANIFEST_FILE
from services.common.models.repository import ModelRepository
from services.common.tensors import to_message
from tests.gateway.whole import Client, Whole, png
from tests.in_process import RunningShard, running_shard
from tests.inference.models import MODEL, scores_of
from tests.models.contents import CLASSES, SPEC, write_content
from tests.waiting import PATIENCE_S, until

TWIN: Final = ModelKey("twin", 1)
"""The same as MODEL."""
LARGE: Final = ModelKey("large", 1)
"""Takes larger pictures, so that its sums are larger."""
LARGE_SPEC: Final = InputSpec(8, 10, 1)
TWINS: Final = ModelKey("twins", 1)
"""The mean of MODEL and TWIN."""
BOTH: Final = ModelKey("both", 1)
"""A quarter of MODEL and three quarters of LARGE."""


def repository_of_ensembles(folder: Path) -> ModelRepository:
    """A repository with the three models and the two ensembles."""
    repository = ModelRepository(folder / "models")
    repository.publish(MODEL.name, write_content)
    repository.publish(TWIN.name, write_content)
    repository.publish(LARGE.name, partial(write_content, spec=LARGE_SPEC))
    publish_ensemble(repository, TWINS.name, {MODEL: 1, TWIN: 1}, "mean")
    publish_ensemble(repository, BOTH.name, {MODEL: 1, LARGE: 3}, "weighted")
    return repository


def without(repository: ModelRepository, folder: Path, *broken: ModelKey) -> ModelRepository:
    """A copy of a repository in which some versions cannot be read, so that no shard loads them."""
    shutil.copytree(repository.root, folder)
    for key in broken:
        (folder / key.name / str(key.version) / MANIFEST_FILE).write_text("{}")
    return ModelRepository(folder)


def expected(value: int, *weights: float) -> dict[int, float]:
    """Index → score of a picture of one value, with these weights of MODEL and LARGE."""
    mine, large = weights
    mean = (mine * SPEC.nbytes + large * LARGE_SPEC.nbytes) / (mine + large) * value
    return {index: mean + index for index in range(CLASSES)}


def ask_for(model: ModelKey, *contents: bytes, **fields: Any) -> recognition_pb2.RecognizeRequest:
    """A request for a model or an ensemble with these encoded pictures."""
    return recognition_pb2.RecognizeRequest(
        model=recognition_pb2.ModelSelector(name=model.name),
        images=[recognition_pb2.Image(content=content) for content in contents],
        **fields,
    )


def pictures_of(*values: int) -> list[bytes]:
    """Encoded pictures, each of one value throughout."""
    return [png(value) for value in values]


def output(*positions: int, error: FacetError | None = None) -> Output:
    """What a shard made of the pictures at these positions."""
    scores = None if error else to_message(scores_of(*positions))
    return Output(positions, scores, error, "s", 1, 0, 0, 1)


class Stage:
    """A cluster with a gateway."""

    def __init__(self, cluster: Whole, client: Client, shards: Sequence[RunningShard]) -> None:
        self.cluster = cluster
        self.client = client
        self.shards = shards

    @property
    def gateway(self) -> Gateway:
        """The gateway's own object."""
        service = self.client.gateway.service
        assert isinstance(service, Gateway)
        return service


@asynccontextmanager
async def stage(*repositories: ModelRepository, **options: Any) -> AsyncIterator[Stage]:
    """A cluster with one shard on each of these repositories; options are the gateway's.

    At the end nothing is left of any request.
    """
    async with Whole(repositories[0]) as cluster:
        shards = [
            await cluster.enter_async_context(
                running_shard(repository, cluster.registry, f"s{number}", piece_images=1)
            )
            for number, repository in enumerate(repositories, 1)
        ]
        await cluster.others()
        client = await cluster.gateway(**options)
        await client.ready()
        staged = Stage(cluster, client, shards)
        reports = staged.gateway._catalog.reports
        await until(lambda: all(shard.name in reports for shard in shards))
        yield staged
        for shard in shards:
            for model in shard.host.descriptors:
                shard.engine_for(ModelKey.from_message(model.model)).open.set()
        dispatcher = staged.gateway._dispatcher
        await until(lambda: not (dispatcher._pieces or dispatcher.deliveries.under_way))
        await until(lambda: cluster.core.empty)
        await until(lambda: all(s.device.load.outstanding_images == 0 for s in shards))


async def recognize(
    staged: Stage, request: recognition_pb2.RecognizeRequest, timeout: float | None = PATIENCE_S
) -> recognition_pb2.RecognizeResponse:
    """Ask the gateway."""
    return await staged.client.recognize(request, timeout)
