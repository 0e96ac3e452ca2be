"""One call on a connection: messages in both directions, and its flow control."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import grpc

from services.common.http2.frames import (
    Chunk,
    ErrorCode,
    Flag,
    Kind,
    frame,
    frame_header,
    word_frame,
)
from services.common.http2.headers import Header
from services.common.http2.messages import (
    PREFIX_BYTES,
    BadMessageError,
    Compressed,
    MessageReader,
    MessageTooLargeError,
    prefix,
)

if TYPE_CHECKING:
    from services.common.http2.connection import Connection

WINDOW: Final = 1 << 20
"""Bytes that a peer may send on one stream ahead of what is read here."""
COPY_UP_TO: Final = 32_768
"""Up to so many bytes one copy is cheaper than one more piece to write."""

_DATA: Final = int(Kind.DATA)
_END: Final = int(Flag.END_STREAM)
_RESET_CODES: Final[dict[int, grpc.StatusCode]] = {
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class StreamFailedError(Exception):
    """The stream ended without its trailers."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details

    def again(self) -> "StreamFailedError":
        """Return the same error to be raised: one that is raised many times keeps every trace."""
        return StreamFailedError(self.code, self.details)


class Stream:
    """What both ends of a call share. Its methods are called on the event loop only.

    A peer that sends faster than its messages are read here is held up by the window; what is
    sent faster than the peer reads waits in `drain`.
    """

    def __init__(self, connection: "Connection", stream_id: int, max_message_bytes: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.send_window = connection.peer_window
        self.failure: StreamFailedError | None = None
        self.remote_ended = False
        """The peer sends no more messages."""
        self.local_ended = False
        """Nothing more is sent from here, though it may still wait for the peer's window."""
        self._messages: deque[bytes] = deque()
        self._reader = MessageReader(max_message_bytes)
        self._receive_window = WINDOW
        self._uncredited = 0
        self._unread = 0
        self.received = 0
        """Messages that have come whole."""
        self._waiter: asyncio.Future[None] | None = None
        self._pending: deque[Chunk] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._ending = b""
        """The frame that ends this side, when it has to wait for what is pending."""

    # What both ends do in their own way.

    def headers_received(self, headers: list[Header]) -> None:
        """The peer's headers, or its trailers."""

    def end_received(self) -> None:
        """The peer sends no more."""

    def failed(self, error: StreamFailedError) -> None:
        """The stream was reset, or its connection lost."""

    def all_sent(self) -> None:
        """This side has ended, and its last byte is on its way."""
        if self.remote_ended:
            self.connection.forget(self)

    # Receiving.

    def data_received(self, chunk: Chunk) -> None:
        """Take in a piece of a data frame."""
        size = len(chunk)
        self._receive_window -= size
        if self._receive_window < 0:
            if self.remote_ended:
                self.reset(ErrorCode.STREAM_CLOSED, "data after the end")
            else:
                self.reset(ErrorCode.FLOW_CONTROL_ERROR, "the peer sent more than it may")
            return
        try:
            messages = self._reader.feed(chunk)
        except MessageTooLargeError as error:
            self.message_refused(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            return
        except BadMessageError as error:
            self.message_refused(grpc.StatusCode.INTERNAL, str(error))
            return
        self._uncredited += size
        if messages:
            self._messages.extend(messages)
            self.received += len(messages)
            for message in messages:
                self._unread += len(message) + PREFIX_BYTES  # empty ones take up room, too
            self._wake()
        self._credit()

    def padding_received(self, size: int) -> None:
        """Take in what a frame had besides its data; it counts for the window all the same."""
        self._receive_window -= size
        self._uncredited += size
        self._credit()

    def ended_by_peer(self) -> None:
        """Take in the end of the peer's side."""
        if self.remote_ended:
            if self.connection.streams.get(self.stream_id) is self:
                self.reset(ErrorCode.STREAM_CLOSED, "one more end")
            return
        self.remote_ended = True
        self._receive_window = 0
        self._wake()
        self.end_received()
        if self.local_ended and not (self._pending or self._ending):
            self.connection.forget(self)

    def message_refused(self, code: grpc.StatusCode, details: str) -> None:
        """A message cannot be taken in."""
        self.fail(StreamFailedError(code, details), ErrorCode.CANCEL)

    def take(self) -> bytes | None:
        """Return the next message if one is there; raises StreamFailedError where it is bad."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._unread -= len(message) + PREFIX_BYTES
        self._credit()
        return self._opened_message(message) if type(message) is Compressed else message

    def _opened_message(self, message: Compressed) -> bytes:
        try:
            return self._reader.opened(message)
        except MessageTooLargeError as error:
            code, details = grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
        except BadMessageError as error:
            code, details = grpc.StatusCode.INTERNAL, str(error)
        self.message_refused(code, details)
        raise StreamFailedError(code, details)

    async def read(self) -> bytes | None:
        """Return the next message, None after the last; raises StreamFailedError."""
        while True:
            if self._messages:
                return self.take()
            if self.failure is not None:
                raise self.failure.again()
            if self.remote_ended:
                return None
            await self._wait()

    async def _wait(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _credit(self) -> None:
        """Let the peer send on, unless enough lies here unread."""
        if self._uncredited >= WINDOW // 2 and self._unread < WINDOW and not self.remote_ended:
            self._receive_window += self._uncredited
            self.connection.write(word_frame(Kind.WINDOW_UPDATE, self.stream_id, self._uncredited))
            self._uncredited = 0

    # Sending.

    def send(self, message: bytes) -> None:
        """Send a message; it waits here while the peer's window is full. See `drain`."""
        if self.failure is not None or self.local_ended:
            return
        size = len(message) + 5
        connection = self.connection
        if (
            self._pending
            or size > self.send_window
            or size > connection.send_window
            or size > connection.peer_max_frame
        ):
            self._pending.append(prefix(len(message)) + message)
            self.flush()
            return
        self.send_window -= size
        connection.send_window -= size
        header = frame_header(_DATA, 0, self.stream_id, size) + prefix(len(message))
        if size <= COPY_UP_TO:
            connection.write(header + message)
        else:
            connection.write_all((header, message))

    def end(self, ending: bytes | None = None) -> None:
        """Send no more: `ending` is the frame that says so, by default an empty data frame."""
        if self.failure is not None or self.local_ended:
            return
        self.local_ended = True
        self._ending = ending if ending is not None else frame(_DATA, _END, self.stream_id)
        self.flush()

    def flush(self) -> None:
        """Send what is pending, as far as the windows allow."""
        connection = self.connection
        while self._pending:
            chunk = memoryview(self._pending[0])
            room = min(self.send_window, connection.send_window, connection.peer_max_frame)
            if room <= 0:
                if self.send_window > 0:
                    connection.blocked(self)
                return
            size = min(room, len(chunk))
            self.send_window -= size
            connection.send_window -= size
            connection.write_all((frame_header(_DATA, 0, self.stream_id, size), chunk[:size]))
            if size == len(chunk):
                self._pending.popleft()
            else:
                self._pending[0] = chunk[size:]
        if self._ending:
            connection.write(self._ending)
            self._ending = b""
            self.all_sent()
        self._all_drained()

    async def drain(self) -> None:
        """Wait until what was sent is in the socket's queue, and that is not too long.

        Raises StreamFailedError.
        """
        while True:
            if self.failure is not None:
                raise self.failure.again()
            if not self._pending and not self.connection.write_paused:
                return
            if self._pending:
                if self._drained is None or self._drained.done():
                    self._drained = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._drained)
            else:
                await self.connection.writable()

    # Ending.

    def reset(self, code: ErrorCode, details: str) -> None:
        """End the stream at once, for both sides."""
        self.fail(StreamFailedError(grpc.StatusCode.INTERNAL, details), code)

    def reset_by_peer(self, code: int) -> None:
        """The peer ended the stream at once."""
        status = _RESET_CODES.get(code, grpc.StatusCode.INTERNAL)
        self.fail(StreamFailedError(status, f"the peer reset the stream (code {code})"), None)

    def fail(self, error: StreamFailedError, code: ErrorCode | None) -> None:
        """The stream has failed; with `code` the peer is told."""
        if self.failure is not None:
            return
        self.failure = error
        if code is not None:
            self.connection.reset(self.stream_id, code)
        self.drop()
        self.connection.forget(self)
        self._wake()
        self.failed(error)

    def drop(self) -> None:
        """Let go of what waits to be sent."""
        self._pending.clear()
        self._ending = b""
        self._all_drained()

    def _all_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
