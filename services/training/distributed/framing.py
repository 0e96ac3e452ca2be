"""Messages on a pipe between a worker and its member: four bytes of length, then the message."""

import asyncio
import struct
from typing import BinaryIO, Final, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

_LENGTH: Final = struct.Struct(">I")


def to_frame(message: Message) -> bytes:
    """Return the message as it goes over the pipe."""
    content = message.SerializeToString()
    return _LENGTH.pack(len(content)) + content


def read_frame(pipe: BinaryIO, kind: type[M]) -> M:
    """Wait for a message; EOFError when the other end is gone."""
    head = pipe.read(_LENGTH.size)
    content = pipe.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    if not head or len(head) < _LENGTH.size or len(content) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return kind.FromString(content)


async def next_frame(pipe: asyncio.StreamReader, kind: type[M]) -> M | None:
    """Wait for a message; None when the other end is gone."""
    try:
        (length,) = _LENGTH.unpack(await pipe.readexactly(_LENGTH.size))
        return kind.FromString(await pipe.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
