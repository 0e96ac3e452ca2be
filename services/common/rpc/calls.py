"""The serving end of a stream of calls.

A stream of calls is a bidirectional stream on which many calls are in flight: every request
has a `call_id`, and every response carries its request's `call_id` and, where the call failed,
a google.rpc.Status in `error`. It costs less than half of what unary calls cost.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

import structlog

from services.common.errors import FacetError, InternalError
from services.common.rpc.context import ServicerContext
from services.common.statuses import to_status

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
    handle: Callable[[Request], Awaitable[Response]],
    failed: Callable[[], Response],
    draining: asyncio.Event,
) -> None:
    """Write the response of each request as it is ready; `failed` makes one for an error."""

    async def answer(request: Request) -> Response:
        try:
            response = await handle(request)
        except Exception as error:
            response = failed()
            response.error.CopyFrom(to_status(domain_error(error)))
        response.call_id = request.call_id
        return response

    await answer_stream(requests, context, answer, draining)


def domain_error(error: Exception) -> FacetError:
    """Return the error as one that may leave the process; logs what should not have happened."""
    if isinstance(error, FacetError):
        return error
    log.error("a call failed unexpectedly", exc_info=error)
    return InternalError("an unexpected error; see the log")


async def answer_stream(
    requests: AsyncIterator[RequestT],
    context: ServicerContext,
    answer: Callable[[RequestT], Awaitable[ResponseT]],
    draining: asyncio.Event,
    max_in_hand: int | None = None,
) -> None:
    """Write the answer to each request as it is ready. `answer` must not raise.

    With `max_in_hand` requests unanswered, the next one is not read. Once `draining` is set,
    no further request is read, those in hand are answered, and the stream ends; what the peer
    had sent meanwhile it must send elsewhere.
    """
    answers = _Answers(answer, max_in_hand)
    reader = asyncio.create_task(answers.read(requests, draining))
    try:
        while (response := await answers.ready.get()) is not None:
            await context.write(response)
        await reader
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


class _Answers(Generic[RequestT, ResponseT]):
    """The requests of one stream that are in hand."""

    def __init__(
        self, answer: Callable[[RequestT], Awaitable[ResponseT]], max_in_hand: int | None
    ) -> None:
        self._answer = answer
        self._room = None if max_in_hand is None else asyncio.Semaphore(max_in_hand)
        self._in_hand: set[asyncio.Task[None]] = set()
        self.ready: asyncio.Queue[ResponseT | None] = asyncio.Queue()

    async def read(self, requests: AsyncIterator[RequestT], draining: asyncio.Event) -> None:
        """Start every request; after the last, or when draining, wait for those in hand."""
        try:
            reading = asyncio.create_task(self._start_all(requests))
            drained = asyncio.create_task(draining.wait())
            try:
                await asyncio.wait({reading, drained}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
                drained.cancel()
                await asyncio.gather(reading, drained, return_exceptions=True)
            await asyncio.gather(*self._in_hand)
        finally:
            for task in self._in_hand:
                task.cancel()
            self.ready.put_nowait(None)

    async def _start_all(self, requests: AsyncIterator[RequestT]) -> None:
        async for request in requests:
            if self._room is not None:
                await self._room.acquire()
            task = asyncio.create_task(self._answer_one(request))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)

    async def _answer_one(self, request: RequestT) -> None:
        try:
            self.ready.put_nowait(await self._answer(request))
        finally:
            if self._room is not None:
                self._room.release()
