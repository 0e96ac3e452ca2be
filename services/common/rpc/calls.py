"""The serving end of a stream of calls.

A stream of calls is a bidirectional stream on which many calls are in flight: every request
has a `call_id`, and every response carries its request's `call_id` and, where the call failed,
a google.rpc.Status in `error`. It costs less than half of what unary calls cost. A request that
only tells something has call_id 0 and no response.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import structlog

from facet.type.v1 import request_pb2
from services.common.errors import FacetError, InternalError
from services.common.rpc.context import ServicerContext
from services.common.statuses import to_status
from services.common.tracing.context import of_requests

log = structlog.get_logger(__name__)


class CallRequest(Protocol):
    """A request message on a stream of calls."""

    call_id: int


class CallResponse(Protocol):
    """A response message on a stream of calls."""

    call_id: int

    @property
    def error(self) -> Any:
        """google.rpc.Status, set where the call failed."""


RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
Request = TypeVar("Request", bound=CallRequest)
Response = TypeVar("Response", bound=CallResponse)


async def serve_calls(
    requests: AsyncIterator[Request],
    context: ServicerContext,
    handle: Callable[[Request], Awaitable[Response | None]],
    failed: Callable[[], Response],
    draining: asyncio.Event,
    concerns: Callable[[Request], Iterable[request_pb2.RequestContext]] = lambda _: (),
) -> None:
    """Write the response of each request as it is ready; `failed` makes one for an error.

    `handle` is begun in the order of the requests; it returns None for one that only tells
    something. `concerns` returns the callers' requests that one is for, for the log.
    """

    async def answer(request: Request) -> Response | None:
        try:
            if (response := await handle(request)) is None:
                return None
        except Exception as error:
            response = _failure(error, failed, concerns(request))
        response.call_id = request.call_id
        return response

    await answer_stream(requests, context, answer, draining)


async def serve_calls_in_turn(
    requests: AsyncIterator[Request],
    context: ServicerContext,
    handle: Callable[[Request], Response],
    failed: Callable[[], Response],
    draining: asyncio.Event,
    concerns: Callable[[Request], Iterable[request_pb2.RequestContext]] = lambda _: (),
) -> None:
    """Like `serve_calls`, for a handler that waits for nothing: it needs no task for each call."""

    async def answer_all() -> None:
        async for request in requests:
            try:
                response = handle(request)
            except Exception as error:
                response = _failure(error, failed, concerns(request))
            response.call_id = request.call_id
            await context.write(response)

    await _until(draining, answer_all())


def domain_error(
    error: Exception, concerned: Iterable[request_pb2.RequestContext] = ()
) -> FacetError:
    """Return the error as one that may leave the process; logs what should not have happened.

    `concerned` are the callers' requests that fail by it, where it is not the current one.
    """
    if isinstance(error, FacetError):
        return error
    log.error("a call failed unexpectedly", exc_info=error, **of_requests(concerned))
    return InternalError("an unexpected error; see the log")


async def answer_stream(
    requests: AsyncIterator[RequestT],
    context: ServicerContext,
    answer: Callable[[RequestT], Awaitable[ResponseT | None]],
    draining: asyncio.Event,
    max_in_hand: int | None = None,
) -> None:
    """Write the answer to each request, if it has one, as it is ready. `answer` must not raise.

    With `max_in_hand` requests unanswered, the next one is not read. Once `draining` is set,
    no further request is read, those in hand are answered, and the stream ends; what the peer
    had sent meanwhile it must send elsewhere.
    """
    in_hand: set[asyncio.Task[None]] = set()
    room = None if max_in_hand is None else asyncio.Semaphore(max_in_hand)

    async def answer_one(request: RequestT) -> None:
        try:
            if (response := await answer(request)) is not None:
                await context.write(response)
        finally:
            if room is not None:
                room.release()

    async def start_all() -> None:
        async for request in requests:
            if room is not None:
                await room.acquire()
            task = asyncio.create_task(answer_one(request))
            in_hand.add(task)
            task.add_done_callback(in_hand.discard)

    try:
        await _until(draining, start_all())
        await asyncio.gather(*in_hand)
    finally:
        for task in in_hand:
            task.cancel()


async def _until(draining: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done or `draining` is set."""
    working = asyncio.create_task(work)
    drained = asyncio.create_task(draining.wait())
    try:
        await asyncio.wait({working, drained}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        drained.cancel()
        await asyncio.gather(working, drained, return_exceptions=True)


def _failure(
    error: Exception,
    failed: Callable[[], Response],
    concerned: Iterable[request_pb2.RequestContext],
) -> Response:
    response = failed()
    response.error.CopyFrom(to_status(domain_error(error, concerned)))
    return response
