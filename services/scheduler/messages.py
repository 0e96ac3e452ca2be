"""Messages of the streams → values of the core."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import model_pb2
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost, Ran
from services.scheduler.descriptors import Piece, PieceKey, Serving
from services.scheduler.expected import Expected, RequestKey


def requests_in(
    dispatcher: str, message: scheduler_pb2.DispatchRequest, now: float
) -> dict[int | None, list[Piece]]:
    """Return the announced pieces by request; None: those that were admitted before."""
    requests: defaultdict[int | None, list[Piece]] = defaultdict(list)
    for descriptor in message.enqueue:
        request_id = None if descriptor.admitted else descriptor.request_id
        requests[request_id].append(
            Piece(
                key=PieceKey(dispatcher, descriptor.piece_id),
                model=ModelKey.from_message(descriptor.model),
                images=descriptor.images,
                deadline=now + descriptor.timeout_ms / 1000,
                tenant=descriptor.tenant,
                explain=descriptor.explain,
            )
        )
    return requests


def expected_in(
    dispatcher: str, message: scheduler_pb2.DispatchRequest, now: float
) -> Iterator[Expected]:
    """Yield the requests that are said to be on their way."""
    for request in message.expected:
        yield Expected(
            key=RequestKey(dispatcher, request.request_id),
            model=ModelKey.from_message(request.model),
            images=request.images,
            deadline=now + request.timeout_ms / 1000,
            tenant=request.tenant,
            confirm=request.confirm,
        )


def serving(models: Iterable[model_pb2.ModelDescriptor]) -> dict[ModelKey, Serving]:
    """Return how a shard serves the versions that it lists."""
    return {
        ModelKey.from_message(model.model): Serving(model.max_batch, _measured(model))
        for model in models
    }


def _measured(model: model_pb2.ModelDescriptor) -> tuple[Ran, ...]:
    if not model.image_seconds:
        return ()
    cost = Cost(model.batch_seconds, model.image_seconds)
    return tuple(Ran(images, cost.seconds(images)) for images in {1, model.max_batch})
