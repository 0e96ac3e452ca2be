"""Messages of the streams ⇄ values of the core."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import model_pb2
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost, Ran
from services.scheduler.asked import ModelQueue
from services.scheduler.descriptors import Piece, PieceKey, Refusal, Serving, Why
from services.scheduler.expected import Expected, RequestKey
from services.scheduler.placement import NO_CLAIM
from services.scheduler.placing import Offer, Offered, Order

REASONS: Final = {
    Why.OVERLOADED: scheduler_pb2.REFUSAL_REASON_OVERLOADED,
    Why.MODEL_LOADING: scheduler_pb2.REFUSAL_REASON_MODEL_LOADING,
    Why.MODEL_TOO_LARGE: scheduler_pb2.REFUSAL_REASON_MODEL_TOO_LARGE,
}


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
                since=now,
                context=descriptor.context,
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
            context=request.context,
        )


def serving(models: Iterable[model_pb2.ModelDescriptor]) -> dict[ModelKey, Serving]:
    """Return how a shard serves the versions that it lists."""
    return {
        ModelKey.from_message(model.model): Serving(model.max_batch, _measured(model))
        for model in models
    }


def offer(shelf: scheduler_pb2.Shelf) -> Offer:
    """Return what a shard could hold."""
    models = {
        ModelKey.from_message(each.model): Offered(
            bytes=each.memory_bytes,
            load_s=each.load_us / 1e6,
            standing=each.standing or NO_CLAIM,
            refused=each.refused,
        )
        for each in shelf.models
    }
    return Offer(shelf.budget_bytes, models)


def order_message(order: Order) -> scheduler_pb2.PullResponse:
    """Return what tells a shard what to hold."""
    hold = [model.to_message() for model in order.hold]
    return scheduler_pb2.PullResponse(placement=scheduler_pb2.Placement(hold=hold))


def refusal_message(request_id: int, refusal: Refusal) -> scheduler_pb2.Refusal:
    """Return what tells a dispatcher that a request is refused."""
    return scheduler_pb2.Refusal(
        request_id=request_id,
        predicted_ms=int(refusal.predicted_s * 1000),
        retry_after_ms=int(refusal.retry_after_s * 1000),
        reason=REASONS[refusal.why],
    )


def queue_message(queue: ModelQueue) -> scheduler_pb2.ModelQueue:
    """Return what tells dispatchers of one version's queue."""
    return scheduler_pb2.ModelQueue(
        model=queue.model.to_message(),
        waiting_images=queue.waiting,
        # Whole milliseconds: what lies below changes all the time, and means nothing.
        wait_us=1000 * math.ceil(queue.wait_s * 1000),
        asked_images=queue.asked,
        refused_images=queue.refused,
    )


def _measured(model: model_pb2.ModelDescriptor) -> tuple[Ran, ...]:
    if not model.image_seconds:
        return ()
    cost = Cost(model.batch_seconds, model.image_seconds)
    return tuple(Ran(images, cost.seconds(images)) for images in {1, model.max_batch})
