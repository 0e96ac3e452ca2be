"""The calling end of one call."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator
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
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
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
        self._opening: list[Header] | None = None
        self._trailers: list[Header] | None = None

    def headers_received(self, headers: list[Header]) -> None:
        """The server's headers, its trailers, or both in one."""
        fields = dict(headers)
        if b"grpc-status" in fields:
            self._trailers = headers
        elif self._opening is None:
            self._opening = headers
            if (status := fields.get(b":status")) != b"200":
                code = _HTTP_CODES.get(status or b"", grpc.StatusCode.UNKNOWN)
                text = f"the server answered with HTTP status {(status or b'').decode('latin-1')}"
                self.fail(StreamFailedError(code, text), ErrorCode.CANCEL)
            encoding = fields.get(b"grpc-encoding", b"identity").decode("latin-1")
            self._reader = MessageReader(MAX_RESPONSE_BYTES, encoding)

    def end_received(self) -> None:
        """The call is over, whatever this side still had to say."""
        self.local_ended = True
        self._pending.clear()

    def status(self) -> tuple[grpc.StatusCode, str, Metadata]:
        """Return how the call ended: code, details and trailing metadata."""
        fields = dict(self._trailers or ())
        number = fields.get(b"grpc-status", b"")
        if not number.isdigit():
            return grpc.StatusCode.UNKNOWN, "the call ended without a status", ()
        code = _CODES.get(int(number), grpc.StatusCode.UNKNOWN)
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
        requests: AsyncIterable[Any] | None,
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
        elif not self._sending.done():
            self._early.append(message)

    def cancel(self) -> None:
        """End the call, if it has not ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._sending.cancel()
        if self._stream is not None:
            cancelled = StreamFailedError(grpc.StatusCode.CANCELLED, "cancelled by the caller")
            if not self._stream.remote_ended:
                self._stream.fail(cancelled, ErrorCode.CANCEL)

    async def _only(self) -> Response:
        try:
            stream = await self._connection()
            message = await self._read(stream)
            while await self._read(stream) is not None:
                pass
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
            connection = await self._channel.connection()
            stream = self._stream = connection.open(self._headers)
            self._settle(stream)
            for message in self._early:
                stream.send(message)
            if self._requests is not None:
                async for request in self._requests:
                    stream.send(self._serialize(request))
                    await stream.drain()
                stream.end()
        except StreamFailedError as error:
            self._settle(_error(error.code, error.details))
        except asyncio.CancelledError:
            self._settle(_error(grpc.StatusCode.CANCELLED, "cancelled by the caller"))
            raise
        except Exception as error:
            failure = StreamFailedError(grpc.StatusCode.UNKNOWN, f"the requests failed: {error}")
            self._settle(_error(failure.code, failure.details))
            if self._stream is not None:
                self._stream.fail(failure, ErrorCode.CANCEL)

    def _expired(self) -> None:
        late = StreamFailedError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed")
        self._settle(_error(late.code, late.details))
        if self._stream is not None and not self._stream.remote_ended:
            self._stream.fail(late, ErrorCode.CANCEL)
        self._sending.cancel()

    def _settle(self, outcome: ClientStream | grpc.aio.AioRpcError) -> None:
        if self._connected.done():
            return
        if isinstance(outcome, ClientStream):
            self._connected.set_result(outcome)
        else:
            self._connected.set_exception(outcome)


def _error(code: grpc.StatusCode, details: str, trailing: Metadata = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=details
    )
