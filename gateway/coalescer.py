"""Batches cost, requests don't: what arrives while calls are in flight goes into the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from services.common.deadline import Deadline
from services.common.errors import InternalError
from services.common.timing_wheel import TimingWheel

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Turns many small submissions into few calls, without timers.

    `send(items)` makes one call and returns one result an item, in order. At most `slots()`
    calls are in flight; while fewer are, a submission leaves at once. A call carries items up to
    `max_weight` together (at least one item). Items whose caller has gone are left out.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        slots: Callable[[], int],
        weigh: Callable[[Item], int],
        max_weight: int,
    ) -> None:
        self._send = send
        self._slots = slots
        self._weigh = weigh
        self._max_weight = max_weight
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._wheel = TimingWheel()

    async def submit(
        self, items: Sequence[Item], deadline: Deadline, late: str
    ) -> Sequence[Result]:
        """Return the results of the items, in order; raises what the call of one raised.

        Raises DeadlineExceededError, with the text of `late`, when the deadline passes.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Result]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        self._dispatch()
        try:
            if len(futures) == 1:  # nearly always; gathering costs as much as all the rest
                return [await self._wheel.within(deadline, futures[0], late)]
            return await self._wheel.within(deadline, asyncio.gather(*futures), late)
        finally:
            # Where one failed nobody waits for the others.
            for future in futures:
                future.cancel()

    def _dispatch(self) -> None:
        while self._waiting and len(self._calls) < max(1, self._slots()):
            batch = self._take()
            if batch:
                # It is for many requests, and not for the one that is at work just now.
                call = asyncio.create_task(self._call(batch), context=Context())
                self._calls.add(call)
                call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._dispatch()

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        weight = 0
        while self._waiting:
            item, future = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            weight += self._weigh(item)
            if batch and weight > self._max_weight:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _call(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._send([item for item, _ in batch])
            if len(results) != len(batch):
                raise InternalError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        finally:
            for _, future in batch:
                future.cancel()
