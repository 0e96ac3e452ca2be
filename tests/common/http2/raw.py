"""A client that says what it is told to, byte by byte."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hpack import Decoder

from services.common.http2.frames import (
    PREFACE,
    Flag,
    Frame,
    FrameReader,
    Kind,
    frame,
    settings_frame,
)
from services.common.http2.headers import Header, header_block
from services.common.http2.messages import prefix
from tests.common.http2.ends import SERVICE
from tests.waiting import PATIENCE_S

GREETING: Final = PREFACE + settings_frame({})
PING: Final = frame(Kind.PING, 0, 0, b"whatever")
END: Final = int(Flag.END_STREAM)
END_HEADERS: Final = int(Flag.END_HEADERS)


def request(method: str, *more: Header, without: bytes = b"") -> list[Header]:
    """The headers of a call."""
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", f"/{SERVICE}/{method}".encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]
    return [header for header in headers if header[0] != without]


def opening(stream_id: int, headers: list[Header], flags: int = 0) -> bytes:
    """The frame that begins a call."""
    return frame(Kind.HEADERS, flags | END_HEADERS, stream_id, header_block(headers))


def data(stream_id: int, *messages: bytes, flags: int = 0) -> bytes:
    """A frame of messages."""
    body = b"".join(prefix(len(message)) + message for message in messages)
    return frame(Kind.DATA, flags, stream_id, body)


def whole_call(stream_id: int, method: str, message: bytes = b"m") -> bytes:
    """A call of one request."""
    return opening(stream_id, request(method)) + data(stream_id, message, flags=END)


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader(1 << 24)
        self._decoder = Decoder()
        self._read: list[Frame] = []

    def send(self, *pieces: bytes) -> None:
        """Send it."""
        self.writer.write(b"".join(pieces))

    async def next(self) -> Frame | None:
        """The next frame; None at the end."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._read:
                try:
                    received = await self._reader.read(1 << 16)
                except ConnectionError:
                    return None
                if not received:
                    return None
                self._read = self._frames.feed(received)
        return self._read.pop(0)

    async def find(self, kind: Kind, stream_id: int, flags: int = 0) -> Frame:
        """The next frame of that kind on that stream, with these flags at least."""
        while (each := await self.next()) is not None:
            if each.kind == Kind.HEADERS:
                headers = self._decoder.decode(bytes(each.payload), raw=True)
                self.headers = {bytes(name): bytes(value) for name, value in headers}
            if (each.kind, each.stream_id) == (kind, stream_id) and each.flags & flags == flags:
                return each
        raise AssertionError(f"no {kind.name} on stream {stream_id} before the end")

    async def status(self, stream_id: int) -> int:
        """How the call ends."""
        await self.find(Kind.HEADERS, stream_id, END)
        return int(self.headers[b"grpc-status"])

    async def alive(self) -> None:
        """The server answers on this connection."""
        self.send(PING)
        await self.find(Kind.PING, 0, Flag.ACK)

    async def ends_with(self) -> int:
        """The code of the GOAWAY after which the server closes the connection."""
        goaway = await self.find(Kind.GOAWAY, 0)
        while await self.next() is not None:
            pass
        return int.from_bytes(goaway.payload[4:8], "big")

    async def closed(self) -> None:
        """The connection ends, with whatever words."""
        while await self.next() is not None:
            pass


@asynccontextmanager
async def raw_client(address: str, *, receive_bytes: int | None = None) -> AsyncIterator[Raw]:
    """A connection; with `receive_bytes` its socket holds about so many that nobody reads."""
    host, _, port = address.rpartition(":")
    sock = socket.socket()
    sock.setblocking(False)
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=receive_bytes or 1 << 16)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()
