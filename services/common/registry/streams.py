"""Watches and campaigns as async generators, each fed by a task of its own.

The task goes on while the consumer is busy between two values: leases must be renewed then too.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T]):
    """The way of values from one task to one consumer, who sees only changes.

    A slow consumer misses values, never the newest: at most `depth` wait for it. With depth 2
    it also learns that a value changed and changed back.
    """

    def __init__(self, depth: int) -> None:
        self._waiting: deque[T] = deque(maxlen=depth)
        self._delivered: tuple[T] | None = None
        self._news = asyncio.Event()
        self._over = False
        self._error: BaseException | None = None

    def publish(self, value: T) -> None:
        """Hand on a value unless it is the newest already."""
        if self._waiting:
            newest: tuple[T] | None = (self._waiting[-1],)
        else:
            newest = self._delivered
        if newest != (value,):
            self._waiting.append(value)
            self._news.set()

    def end(self, error: BaseException | None = None) -> None:
        """End the consumer's iteration after what waits, with the error if there is one."""
        self._over, self._error = True, error
        self._news.set()

    async def values(self) -> AsyncGenerator[T, None]:
        """Yield the values as they come."""
        while True:
            await self._news.wait()
            while self._waiting:
                value = self._waiting.popleft()
                if self._delivered != (value,):
                    self._delivered = (value,)
                    yield value
            if self._over:
                if self._error is not None:
                    raise self._error
                return
            self._news.clear()


class Streams:
    """The open watches and campaigns of one registry."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancelled: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(
        self, produce: Callable[[Feed[T]], Awaitable[None]], *, depth: int = 1
    ) -> AsyncGenerator[T, None]:
        """Yield what `produce` publishes until this generator or the whole of it is closed.

        `produce` runs in a task that is cancelled then, and awaited: its `finally` is done when
        closing returns. An error of its own, which is a fault of ours, reaches the consumer.
        """
        if self._closed:
            return
        feed: Feed[T] = Feed(depth)
        task = asyncio.create_task(_run(produce, feed))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        values = feed.values()
        try:
            async for value in values:
                yield value
        finally:
            self._cancel(task)
            await asyncio.wait([task])
            await values.aclose()

    async def close(self) -> None:
        """End every stream and wait for its task."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            self._cancel(task)
        if tasks:
            await asyncio.wait(tasks)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        # Once only: a second time would interrupt the task's `finally`, such as a resignation.
        # `task.cancelling()` would not do: it also counts a time limit of the task's own that
        # passes just now, which the task survives.
        if task not in self._cancelled:
            self._cancelled.add(task)
            task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._cancelled.discard(task)


async def _run(produce: Callable[[Feed[T]], Awaitable[None]], feed: Feed[T]) -> None:
    try:
        await produce(feed)
    except asyncio.CancelledError:
        feed.end()
        raise
    except Exception as error:
        feed.end(error)
    else:
        feed.end()
