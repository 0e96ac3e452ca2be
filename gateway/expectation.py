"""A request whose pictures are still being prepared, as the scheduler knows it."""

import asyncio
from types import TracebackType
from typing import Self

from gateway.pieces import News
from services.common.deadline import Deadline
from services.common.errors import FacetError
from services.common.timing_wheel import TimingWheel
from services.common.tracing.span import CURRENT


class Expectation:
    """Lets the scheduler refuse a request while its pictures are prepared.

    What is refused after it was decoded has cost most of what an answer costs: under twice the
    load that fits a fifth of the machine went into that. Inside the block the refusal is raised,
    as OverloadedError; after it, whoever takes the pieces on hears of it.
    """

    def __init__(
        self,
        request_id: int,
        news: News | None,
        wheel: TimingWheel,
        admitted: "asyncio.Future[None] | None" = None,
    ) -> None:
        """`news` told the scheduler of the request; None where there is no scheduler to tell.

        `admitted` is done when it is not to be refused any more; None: nobody waits for that.
        """
        self.request_id = request_id
        self.news = news
        self._wheel = wheel
        self._admitted = admitted
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._refusal: FacetError | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._refusal is not None and task is not None:
            # As asyncio.timeout does: whoever else cancelled the task is to be heeded first.
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise self._refusal from None
        elif kind is not None:
            self.abandon()

    async def admission(self, deadline: Deadline) -> None:
        """Return when to prepare the pictures: at once, unless some were refused of late.

        Raises DeadlineExceededError.
        """
        if self._admitted is not None:
            late = "the deadline passed before it was admitted"
            with CURRENT.get().begin("admission"):
                await self._wheel.within(deadline, self._admitted, late)

    def admit(self) -> None:
        """The request is not to be refused any more, or nobody is there to tell."""
        if self._admitted is not None and not self._admitted.done():
            self._admitted.set_result(None)

    def refuse(self, refusal: FacetError) -> None:
        """Raise the refusal where the pictures are waited for."""
        if self._task is not None and self._refusal is None:
            self._refusal = refusal
            self._task.cancel()

    def come(self, news: News | None) -> bool:
        """The pieces are there; return whether the scheduler that is told of them admitted them."""
        told, self.news = self.news, None
        return told is not None and told is news

    def abandon(self) -> None:
        """No piece of the request will come."""
        if self.news is not None:
            self.news.abandoned(self.request_id)
            self.news = None
