"""The sending half of a stream that this process opened."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Outgoing(Generic[T]):
    """Messages on their way into one stream: the iterator of requests of a gRPC call.

    Close it when the call has ended, however it ended: grpc.aio leaves a task waiting for the
    next message otherwise, for as long as the process lives.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._closed = False

    def put(self, message: T) -> None:
        """Send a message; dropped when the stream has ended."""
        if not self._closed:
            self._queue.put_nowait(message)

    def close(self) -> None:
        """End the stream after the messages that are already there. Idempotent."""
        self._closed = True
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the messages."""
        while (message := await self._queue.get()) is not None:
            yield message
