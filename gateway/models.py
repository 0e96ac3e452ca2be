"""From what a caller asks for to a version that the pipeline can work with."""

from collections.abc import Mapping

from facet.type.v1 import model_pb2
from gateway.catalog import Catalog, ServedModel, Wanted
from gateway.shards import ShardLink
from services.common.deadline import Deadline
from services.common.errors import ModelNotFoundError, UnavailableError
from services.common.models.key import ModelKey


class Models:
    """Finds versions, asking a shard for the description of one that none has loaded."""

    def __init__(self, catalog: Catalog, shards: Mapping[str, ShardLink]) -> None:
        """`shards`: instance id → link, of the moment."""
        self._catalog = catalog
        self._shards = shards

    async def find(self, wanted: Wanted, deadline: Deadline) -> model_pb2.ModelDescriptor:
        """Return the version that answers; it need not be loaded.

        Raises ModelNotFoundError, ModelRefusedError, and UnavailableError when no shard can say
        what it is like.
        """
        key = self._catalog.resolve(wanted)
        return self._catalog.descriptor(key) or await self._describe(key, deadline)

    async def describe(self, wanted: Wanted, deadline: Deadline) -> ServedModel:
        """Like `find`, with the shards that have loaded it."""
        descriptor = await self.find(wanted, deadline)
        shards = self._catalog.shards(ModelKey.from_message(descriptor.model))
        return ServedModel(descriptor, shards)

    async def _describe(self, key: ModelKey, deadline: Deadline) -> model_pb2.ModelDescriptor:
        last: Exception | None = None
        for shard in self._catalog.offering(key):
            link = self._shards.get(shard)
            if link is None or not link.up:
                continue
            try:
                descriptor = await link.describe(key, deadline)
            except (UnavailableError, ModelNotFoundError) as error:
                last = error
                continue
            self._catalog.described(descriptor)
            return descriptor
        raise UnavailableError(f"no shard can describe {key} now: {last or 'none can be reached'}")
