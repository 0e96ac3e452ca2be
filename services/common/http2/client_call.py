"""The calling end of one call."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import grpc

from services.common.http2.frames import ErrorCode, ProtocolError
from services.common.http2.headers import Header, Metadata, decode_message, decode_metadata
from services.common.http2.messages import MessageReader
from services.common.http2.stream import Stream, StreamFailedError

if TYPE_CHECKING:
    from services.common.http2.channel import Channel, ClientConnection

Response = TypeVar("Response")

MAX_RESPONSE_BYTES: Final = 1 << 31
_CODES: Final = {b"%d" % code.value[0]: code for code in grpc.StatusCode}
_HTTP_CODES: Final = {
    b"400": grpc.StatusCode.INTERNAL,
    b"401": grpc.StatusCode.UNAUTHENTICATED,
    b"403": grpc.StatusCode.PERMISSION_DENIED,
    b"404": grpc.StatusCode.UNIMPLEMENTED,
    b"429": grpc.StatusCode.UNAVAILABLE,
    b"502": grpc.StatusCode.UNAVAILABLE,
    b"503": grpc.StatusCode.UNAVAILABLE,
    b"504": grpc.StatusCode.UNAVAILABLE,
}


class ClientStream(Stream):
    """One call on its connection."""

    def __init__(self, connection: "ClientConnection", stream_id: int) -> None:
        super().__init__(connection, stream_id, MAX_RESPONSE_BYTES)
        self.over: Callable[[], None] = lambda: None
        """Called when the server's last word is there, or will never be."""
        self._opening: list[Header] | None = None
        self._trailers: list[Header] | None = None

    def headers_received(self, headers: list[Header]) -> None:
        """The server's headers, its trailers, or both in one."""
        fields = dict(headers)
        if b"grpc-status" in fields:
            self._trailers = headers
        elif self._opening is None:
            status = fields.get(b":status", b"")
            if status[:1] == b"1":
                return  # not yet the answer (RFC 9110, 15.2)
            self._opening = headers
            if status != b"200":
                code = _HTTP_CODES.get(status, grpc.StatusCode.UNKNOWN)
                text = f"the server answered with HTTP status {status.decode('latin-1')}"
                self.fail(StreamFailedError(code, text), ErrorCode.CANCEL)
            encoding = fields.get(b"grpc-encoding", b"identity").decode("latin-1")
            self._reader = MessageReader(MAX_RESPONSE_BYTES, encoding)

    def end_received(self) -> None:
        """The call is over, whatever this side still had to say."""
        if not self.local_ended or self._pending:
            self.local_ended = True
            self.drop()
            self.connection.reset(self.stream_id, ErrorCode.NO_ERROR)
        self.over()

    def failed(self, error: StreamFailedError) -> None:
        """See Stream.failed."""
        self.over()

    @property
    def torn(self) -> bool:
        """The server ended in the middle of a message."""
        return self._reader.torn

    def status(self) -> tuple[grpc.StatusCode, str, Metadata]:
        """Return how the call ended: code, details and trailing metadata."""
        fields = dict(self._trailers or ())
        if b"grpc-status" not in fields:
            return grpc.StatusCode.UNKNOWN, "the call ended without a status", ()
        code = _CODES.get(fields[b"grpc-status"], grpc.StatusCode.UNKNOWN)
        if code is grpc.StatusCode.OK and self.torn:
            return grpc.StatusCode.INTERNAL, "the call ended in the middle of a message", ()
        try:
            trailing = decode_metadata(self._trailers or ())
        except ProtocolError as error:
            return code, str(error), ()
        return code, decode_message(fields.get(b"grpc-message", b"")), trailing


class Call(Generic[Response]):
    """A call under way. Iterate over it, or await it where it has one response.

    Both raise grpc.aio.AioRpcError when the call fails. Leaving the iteration early cancels it.
    Where it was made without requests, `send` sends them.
    """

    def __init__(
        self,
        channel: "Channel",
        headers: list[Header],
        requests: AsyncGenerator[bytes, None] | None,
        serialize: Callable[[Any], bytes],
        parse: Callable[[bytes], Response],
        timeout: float | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._channel = channel
        self._headers = headers
        self._requests = requests
        self._serialize = serialize
        self._early: list[bytes] = []
        """What was sent before there was a stream."""
        self._parse = parse
        self._timer = None if timeout is None else loop.call_later(timeout, self._expired)
        self._stream: ClientStream | None = None
        self._is_over = False
        self._connected: asyncio.Future[ClientStream] = loop.create_future()
        # Where nobody waits for it, it is nobody's error.
        self._connected.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._sending = asyncio.create_task(self._run())

    async def wait_for_connection(self) -> None:
        """Return once the server can be reached; raises grpc.aio.AioRpcError when it cannot."""
        await self._connection()

    async def __aiter__(self) -> AsyncIterator[Response]:
        """Iterate over the responses."""
        try:
            stream = await self._connection()
            while (message := await self._read(stream)) is not None:
                yield self._parse(message)
            self._check(stream)
        finally:
            self.cancel()

    def __await__(self) -> Generator[Any, None, Response]:
        """Wait for the only response."""
        return self._only().__await__()

    def send(self, request: Any) -> None:
        """Send one request; dropped when the call has ended.

        It waits in memory while the server's window is full.
        """
        message = self._serialize(request)
        if self._stream is not None:
            self._stream.send(message)
        elif not self._is_over:
            self._early.append(message)

    def cancel(self) -> None:
        """End the call, if it has not ended."""
        self._end(grpc.StatusCode.CANCELLED, "cancelled by the caller")

    async def _only(self) -> Response:
        try:
            stream = await self._connection()
            message = await self._read(stream)
            if message is not None and await self._read(stream) is not None:
                raise _error(grpc.StatusCode.INTERNAL, "more than one response")
            self._check(stream)
            if message is None:
                raise _error(grpc.StatusCode.INTERNAL, "a response is missing")
            return self._parse(message)
        finally:
            self.cancel()

    async def _connection(self) -> ClientStream:
        # Shielded: whoever waits may be cancelled, and the call be waited for by another one.
        return await asyncio.shield(self._connected)

    async def _read(self, stream: ClientStream) -> bytes | None:
        try:
            return await stream.read()
        except StreamFailedError as error:
            raise _error(error.code, error.details) from None

    def _check(self, stream: ClientStream) -> None:
        code, details, trailing = stream.status()
        if code is not grpc.StatusCode.OK:
            raise _error(code, details, trailing)

    async def _run(self) -> None:
        try:
            stream = self._stream = await self._channel.open(self._headers)
            stream.over = self._over
            self._connected.set_result(stream)
            for message in self._early:
                stream.send(message)
            if self._requests is not None:
                async for request in self._requests:
                    stream.send(request)
                    await stream.drain()
                stream.end()
        except asyncio.CancelledError:
            await self._close_requests()
            raise
        except StreamFailedError as error:
            self._end(error.code, error.details)
            await self._close_requests()
        except Exception as error:
            self._end(grpc.StatusCode.UNKNOWN, f"the requests failed: {error}")

    async def _close_requests(self) -> None:
        if self._requests is not None:
            await self._requests.aclose()

    def _expired(self) -> None:
        self._end(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed")

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        """End the call from this side, if it has not ended."""
        if not self._connected.done():
            self._connected.set_exception(_error(code, details))
        stream = self._stream
        if stream is not None and not stream.remote_ended and stream.failure is None:
            stream.fail(StreamFailedError(code, details), ErrorCode.CANCEL)
        self._over()

    def _over(self) -> None:
        """Nothing more is sent and no deadline waited for. Idempotent."""
        if not self._is_over:
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            self._sending.cancel()


def _error(code: grpc.StatusCode, details: str, trailing: Metadata = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=details
    )
