"""The serving end of one call: its handler runs as a task, and is the context that it is given."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
import structlog

from services.common.http2.frames import (
    Chunk,
    ErrorCode,
    Flag,
    Kind,
    ProtocolError,
    frame,
    frame_header,
    header_frames,
)
from services.common.http2.headers import (
    Header,
    Metadata,
    decode_metadata,
    decode_timeout,
    header_block,
    header_literal,
)
from services.common.http2.messages import ENCODINGS, MessageReader, prefix
from services.common.http2.status import OK, OPENING, AbortedError, trailers
from services.common.http2.stream import WINDOW, Stream, StreamFailedError
from services.common.timing_wheel import Expire

if TYPE_CHECKING:
    from services.common.http2.server import Server
    from services.common.http2.server_connection import ServerConnection

log = structlog.get_logger(__name__)

_CONTENT_TYPE: Final = b"application/grpc"
_CONTENT_TYPES: Final = (b"application/grpc+", b"application/grpc;")
_OK_AT_ONCE: Final = int(Flag.END_HEADERS)
_LAST: Final = int(Flag.END_HEADERS | Flag.END_STREAM)


class ServerCall(Stream):
    """One call that is being served. Handlers see the part of grpc.aio.ServicerContext here."""

    def __init__(
        self,
        server: "Server",
        connection: "ServerConnection",
        stream_id: int,
        headers: list[Header],
    ) -> None:
        super().__init__(connection, stream_id, server.max_message_bytes)
        self._server = server
        self._serving = connection
        self.headers = headers
        """What the call came with, names in lower case; not to be changed."""
        self.path = ""
        """Such as /facet.recognition.v1.RecognitionService/Recognize."""
        self._handler: Any = None
        self._trailing = b""
        """What the caller is told at the end besides the status, as a block of headers."""
        self._over = False
        self.caller: object = None
        """Who calls, as an interceptor found out when it admitted the call."""
        self.arriving_bytes = 0
        """Of an incomplete request, as far as a server that limits them has counted."""
        self.awaited: tuple[float, int] = (0.0, -1)
        """Since when a request has been incomplete, and how many had come by then."""
        self._deadline: float | None = None
        self._expiry: set[Expire] | None = None
        """Where the deadline is waited for."""
        self._timed_out = False
        self._opened = False
        self._task: asyncio.Task[None] | None = None

    @property
    def peer(self) -> str | None:
        """Who calls, by the certificate: such as spiffe://facet/gateway; None: nobody knows."""
        return self._serving.peer

    def start(self) -> None:
        """Find out what is asked for, and begin to serve it."""
        fields = dict(self.headers)
        kind = fields.get(b"content-type", b"")
        if kind != _CONTENT_TYPE and not kind.startswith(_CONTENT_TYPES):
            self._refuse(b"415")
            return
        if fields[b":method"] != b"POST":
            self._refuse(b"405")
            return
        path = fields.get(b":path", b"").decode("latin-1")
        handler = self._server.handlers.get(path)
        if handler is None:
            self.finish(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {path[:200]}")
            return
        self.path = path
        if not self._admitted():
            return
        self._handler = handler
        encoding = fields.get(b"grpc-encoding", b"identity").decode("latin-1")
        if encoding != "identity":
            if encoding not in ENCODINGS:
                self.finish(grpc.StatusCode.UNIMPLEMENTED, f"no compression by {encoding[:200]}")
                return
            self._reader = MessageReader(self._server.max_message_bytes, encoding)
        if (timeout := fields.get(b"grpc-timeout")) is not None:
            self._expire_after(timeout)
        if self._handler.request_streaming and not self.local_ended:
            self._serve()

    def _admitted(self) -> bool:
        try:
            for interceptor in self._server.interceptors:
                interceptor.admit(self)
        except AbortedError as refused:
            self._finish_safely(refused.code, refused.details, refused.trailing)
            return False
        return True

    def _refuse(self, status: bytes) -> None:
        block = header_block(((b":status", status),))
        self.end(header_frames(Flag.END_STREAM, self.stream_id, block))

    def _expire_after(self, timeout: bytes) -> None:
        try:
            seconds = decode_timeout(timeout)
        except ProtocolError as error:
            self.finish(grpc.StatusCode.INTERNAL, str(error))
            return
        self._deadline = time.monotonic() + seconds
        self._expiry = self._server.wheel.add(self._deadline, self._expired)

    # The context of handlers.

    async def write(self, response: Any) -> None:
        """Send one response of a stream of them; nobody wants it where the call has ended."""
        if self.local_ended or self.failure is not None:
            raise StreamFailedError(grpc.StatusCode.CANCELLED, "the call has ended")
        if not self._opened:
            self._open()
        self.send(self._handler.response_serializer(response))
        if self._pending or self.connection.write_paused:
            await self.drain()

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> NoReturn:
        """End the call with that status."""
        raise AbortedError(code, details, trailing_metadata)

    def add_trailing(self, name: bytes, value: bytes) -> None:
        """Tell the caller this as well when the call ends, however it ends."""
        self._trailing += header_literal(name, value)

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline; None when it has none."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic())

    def invocation_metadata(self) -> Metadata:
        """Return what the caller sent along."""
        try:
            return decode_metadata(self.headers)
        except ProtocolError as error:
            raise AbortedError(grpc.StatusCode.INTERNAL, str(error), ()) from None

    # Stream.

    @property
    def incomplete(self) -> bool:
        """The client owes the rest of a request, and nothing here holds it up."""
        if self._handler is None or self.remote_ended or self.local_ended:
            return False
        if self._handler.request_streaming and not self._reader.torn:
            return False  # it may take its time between two of them
        return self._unread < WINDOW

    @property
    def held_bytes(self) -> int:
        """Of a request that is incomplete."""
        return 0 if self.local_ended or self.failure is not None else self._reader.held_bytes

    def data_received(self, chunk: Chunk) -> None:
        """See Stream.data_received."""
        super().data_received(chunk)
        if self.arriving_bytes or self._reader.torn:
            self._count_arriving()

    def end_received(self) -> None:
        """All that the caller has to say is there."""
        if self._reader.torn:
            self.message_refused(grpc.StatusCode.INTERNAL, "the end in the middle of a message")
        elif self._handler is not None and not self._handler.request_streaming:
            self._serve()

    def all_sent(self) -> None:
        """Whatever the caller still sends, nobody reads it."""
        self._stop_waiting()
        if not self.remote_ended:
            self.remote_ended = True
            self.connection.reset(self.stream_id, ErrorCode.NO_ERROR)
            self._wake()
        self.connection.forget(self)

    def failed(self, error: StreamFailedError) -> None:
        """Nobody waits any more."""
        self._stop_waiting()
        self._tell_the_end(error.code)
        if self._task is not None:
            self._task.cancel()

    def _count_arriving(self) -> None:
        if (arrivals := self._server.arrivals) is not None:
            arrivals.count(self)

    def message_refused(self, code: grpc.StatusCode, details: str) -> None:
        """Say why; the handler has nothing more to say."""
        if self.local_ended:
            super().message_refused(code, details)
            return
        self.finish(code, details)
        if self._task is not None:
            self._task.cancel()

    # Running.

    def _serve(self) -> None:
        if self._task is None and not self.local_ended and self.failure is None:
            self._task = asyncio.create_task(self._run())
            self._server.call_started(self._task)
            self._serving.call_started(self._task)

    async def _run(self) -> None:
        try:
            for interceptor in self._server.interceptors:
                interceptor.began(self)
            await self._handle()
            # The call goes on for as long as its response waits for the caller: it counts, a
            # deadline ends it, and so does a server that stops.
            if self._pending or self.connection.write_paused:
                await self.drain()
        except AbortedError as aborted:
            self._finish_safely(aborted.code, aborted.details, aborted.trailing)
        except asyncio.CancelledError:
            if self._timed_out:
                self.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed")
            else:
                self.finish(grpc.StatusCode.CANCELLED, "the call was cancelled")
        except StreamFailedError:
            pass  # nobody is there to be told
        except Exception as error:
            log.exception("a handler failed", path=dict(self.headers).get(b":path"))
            self.finish(grpc.StatusCode.UNKNOWN, f"unexpected {type(error).__name__}: {error}")

    async def _handle(self) -> None:
        handler = self._handler
        if handler.request_streaming:
            request: Any = self._requests()
        else:
            message = self.take()
            if message is None or self._messages:
                text = "a call without its request" if message is None else "more than one request"
                raise AbortedError(grpc.StatusCode.UNIMPLEMENTED, text, ())
            request = self._parsed(message)
        if not handler.response_streaming:
            method = handler.stream_unary if handler.request_streaming else handler.unary_unary
            self._answer(handler.response_serializer(await method(request, self)))
            return
        method = handler.stream_stream if handler.request_streaming else handler.unary_stream
        responses = method(request, self)
        if isinstance(responses, AsyncGenerator):
            async with aclosing(responses):
                async for response in responses:
                    await self.write(response)
        else:
            await responses
        self.finish(grpc.StatusCode.OK)

    async def _requests(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not None:
            yield self._parsed(message)

    def _parsed(self, message: bytes) -> Any:
        try:
            return self._handler.request_deserializer(message)
        except Exception:
            text = "the request cannot be parsed"
            raise AbortedError(grpc.StatusCode.INTERNAL, text, ()) from None

    def _answer(self, message: bytes) -> None:
        """Send the only response and the status, in one piece where the windows allow it."""
        size = len(message) + 5
        connection, stream_id = self.connection, self.stream_id
        if self.failure is not None or self.local_ended:
            return
        if size > min(self.send_window, connection.send_window, connection.peer_max_frame):
            self._open()
            self.send(message)
            self.finish(grpc.StatusCode.OK)
            return
        self.send_window -= size
        connection.send_window -= size
        self._opened = True
        connection.write(
            b"".join(
                (
                    frame(Kind.HEADERS, _OK_AT_ONCE, stream_id, OPENING),
                    frame_header(Kind.DATA, 0, stream_id, size),
                    prefix(len(message)),
                    message,
                )
            )
        )
        self._tell_the_end(grpc.StatusCode.OK)
        self.end(frame(Kind.HEADERS, _LAST, stream_id, OK + self._trailing))

    # Ending.

    def finish(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing: Iterable[tuple[str, str | bytes]] = (),
    ) -> None:
        """End the call with a status, if it has not ended."""
        if self.failure is not None or self.local_ended:
            return
        block = trailers(code, details, trailing) + self._trailing
        if not self._opened:
            self._opened = True
            block = OPENING + block
        self._tell_the_end(code)
        self.end(header_frames(Flag.END_STREAM, self.stream_id, block))

    def _tell_the_end(self, code: grpc.StatusCode) -> None:
        if self.path and not self._over:
            self._over = True
            for interceptor in self._server.interceptors:
                interceptor.ended(self, code)

    def _finish_safely(
        self, code: grpc.StatusCode, details: str, trailing: Iterable[tuple[str, str | bytes]]
    ) -> None:
        """End the call with what a handler said, which may be no status."""
        try:
            self.finish(code, details, trailing)
        except Exception:
            log.exception("a handler ended with what is no status")
            self.finish(grpc.StatusCode.UNKNOWN, "an unexpected error")

    def _open(self) -> None:
        self._opened = True
        self.connection.write(frame(Kind.HEADERS, Flag.END_HEADERS, self.stream_id, OPENING))

    def _expired(self) -> None:
        self._timed_out = True
        if self.local_ended:
            self.reset(ErrorCode.CANCEL, "the deadline passed")
        elif self._task is not None:
            self._task.cancel()
        else:
            self.finish(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed")

    def _stop_waiting(self) -> None:
        """Neither a deadline nor the rest of a request is waited for any more."""
        if self.arriving_bytes:
            self._count_arriving()
        if self._expiry is not None:
            self._expiry.discard(self._expired)
            self._expiry = None
