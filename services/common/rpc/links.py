"""The calling end of a stream of calls (see `calls`): one link to one instance."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import grpc
import structlog

from services.common.deadline import Deadline
from services.common.errors import (
    DrainingError,
    LinkLostError,
    UnavailableError,
)
from services.common.http2.channel import Channel
from services.common.http2.client_call import Call
from services.common.http2.tls import ClientTls
from services.common.rpc.calls import CallRequest, CallResponse
from services.common.rpc.cancellation import heed_cancellation
from services.common.shared_memory import NO_SHARED_MEMORY
from services.common.statuses import from_status
from services.common.timing_wheel import TimingWheel

log = structlog.get_logger(__name__)

Request = TypeVar("Request", bound=CallRequest)
Response = TypeVar("Response", bound=CallResponse)

RECONNECT_S: Final = 0.2


class Link(Generic[Request, Response]):
    """A channel to one instance with one stream of calls on it, reopened when it breaks.

    `open_stream(channel)` starts the bidirectional call. `on_change` is called
    whenever `up` changes. `run` must be running for the link to come up.
    """

    def __init__(
        self,
        address: str,
        open_stream: Callable[[Channel], Call[Response]],
        on_change: Callable[[], None],
        *,
        shares_memory: bool = False,
        tls: ClientTls | None = None,
    ) -> None:
        self._tls = tls
        self.address = address
        self.shares_memory = shares_memory
        """The instance can open this process's memory; False once it answered that it cannot."""
        self.up = False
        self._open_stream = open_stream
        self._on_change = on_change
        self._retired = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ids = itertools.count(1)
        self._wheel = TimingWheel()
        self._late = f"no answer from {address} within the deadline"
        self._stream: Call[Response] | None = None
        self._pending: dict[int, asyncio.Future[Response]] = {}

    @property
    def in_flight(self) -> int:
        """Calls that wait for their response."""
        return len(self._pending)

    async def call(self, request: Request, deadline: Deadline) -> Response:
        """Send the request (its call_id is set here) and return the response without an error.

        Raises LinkLostError when the stream breaks before the response, DrainingError when the
        instance ends it in order, DeadlineExceededError, or the domain error that the instance
        answered. Safe to cancel: the stream goes on.
        """
        if not self.up or self._stream is None:
            raise LinkLostError(f"{self.address} cannot be reached")
        call_id = next(self._ids)
        request.call_id = call_id
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._pending[call_id] = future
        self._idle.clear()
        self._stream.send(request)
        try:
            response = await self._wheel.within(deadline, future, self._late)
        finally:
            self._pending.pop(call_id, None)
            if not self._pending:
                self._idle.set()
        if response.error.code:
            error = from_status(response.error)
            if error.reason == NO_SHARED_MEMORY:
                self.shares_memory = False
            raise error
        return response

    def tell(self, request: Request) -> None:
        """Send something that has no response; dropped where the stream is broken.

        It arrives after all calls that were made before it.
        """
        if self.up and self._stream is not None:
            request.call_id = 0
            self._stream.send(request)

    async def run(self) -> None:
        """Keep the stream open until the link is retired and its last call has ended."""
        async with Channel(self.address, self._tls) as channel:
            serving = asyncio.create_task(self._keep_open(channel))
            try:
                await self._retired.wait()
                await self._idle.wait()
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                self._went_down(LinkLostError(f"the link to {self.address} was closed"))

    def retire(self) -> None:
        """Let `run` return once the calls in flight have ended."""
        self._retired.set()

    async def _keep_open(self, channel: Channel) -> None:
        while True:
            try:
                await self._serve_stream(channel)
                self._went_down(DrainingError(f"{self.address} is shutting down"))
            except grpc.aio.AioRpcError as error:
                self._went_down(LinkLostError(f"{self.address} was lost: {error.details()}"))
            except Exception:
                log.exception("a link failed unexpectedly", address=self.address)
                self._went_down(LinkLostError(f"{self.address} was lost; see the log"))
            heed_cancellation()
            await asyncio.sleep(RECONNECT_S)

    async def _serve_stream(self, channel: Channel) -> None:
        self._stream = stream = self._open_stream(channel)
        try:
            await stream.wait_for_connection()
            self._set_up(True)
            async for response in stream:
                future = self._pending.get(response.call_id)
                if future is not None and not future.done():
                    future.set_result(response)
        finally:
            stream.cancel()

    def _went_down(self, error: UnavailableError) -> None:
        self._set_up(False)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)

    def _set_up(self, up: bool) -> None:
        if self.up != up:
            self.up = up
            log.info("link up" if up else "link down", address=self.address)
            self._on_change()
