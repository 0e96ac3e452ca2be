"""One try of a training: all members run until one of them fails or all have finished."""

import asyncio
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

import grpc

from facet.training.v1 import training_pb2
from services.common.errors import FacetError, InternalError
from services.common.registry import Instance
from services.common.statuses import from_status
from services.training.distributed.seats import Seat, reachable

STARTING_S: Final = 120.0
"""How long a member may be silent while it loads: nothing is told while a library is mapped."""
ROOT_CAUSE_S: Final = 2.0
"""When one member fails for want of another, that one is heard of within this."""

Hears = Callable[[training_pb2.RunMemberResponse], None]


class Cause(IntEnum):
    """Why a member was lost. Where several were, the least one caused the others."""

    UNREACHABLE = 1
    SILENT = 2
    FAILED = 3


class MemberLostError(Exception):
    """A member is gone, and the training may go on without it."""

    def __init__(self, instance: Instance, cause: Cause, reason: str) -> None:
        super().__init__(f"{instance.id} {reason}")
        self.instance = instance
        self.cause = cause


class Attempt:
    """Starts the members and follows them. `hears` is called with the events of the first."""

    def __init__(self, seats: Sequence[Seat], hears: Hears, silence_s: float) -> None:
        self._seats = seats
        self._hears = hears
        self._silence_s = silence_s
        self._digests: dict[int, dict[str, str]] = {}

    async def run(self, order: training_pb2.Start) -> None:
        """Return when all have finished. `order` lacks the members and the index.

        Raises MemberLostError, or the FacetError with which the training itself failed.
        """
        following = []
        for index, seat in enumerate(self._seats):
            start = training_pb2.Start()
            start.CopyFrom(order)
            start.index = index
            start.members.extend(each.address for each in self._seats)
            seat.start(start)
            following.append(asyncio.create_task(self._follow(seat, first=index == 0)))
        try:
            await self._until_over(following)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    async def _until_over(self, following: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(following, return_when=asyncio.FIRST_EXCEPTION)
        errors = _errors(following)
        if errors and all(_is_effect(error) for error in errors):
            rest = [task for task in following if not task.done()]
            if rest:
                await asyncio.wait(rest, timeout=ROOT_CAUSE_S, return_when=asyncio.FIRST_EXCEPTION)
            errors = _errors(following)
        if errors:
            raise min(errors, key=_rank)

    async def _follow(self, seat: Seat, *, first: bool) -> None:
        limit_s = STARTING_S
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    event = await anext(seat.events)
            except TimeoutError:
                reason = f"said nothing for {limit_s:g} s"
                raise MemberLostError(seat.instance, Cause.SILENT, reason) from None
            except StopAsyncIteration:
                reason = "ended before the training"
                raise MemberLostError(seat.instance, Cause.FAILED, reason) from None
            except grpc.aio.AioRpcError as error:
                cause = Cause.FAILED if reachable(error) else Cause.UNREACHABLE
                reason = f"was lost: {error.details()}"
                raise MemberLostError(seat.instance, cause, reason) from error
            match event.WhichOneof("event"):
                case "finished":
                    return
                case "failed":
                    raise _failure(seat.instance, event.failed)
                case "alive":
                    if event.alive.ready:
                        limit_s = self._silence_s
                case "epoch_ended":
                    self._compare(event.epoch_ended, seat)
            if first:
                self._hears(event)

    def _compare(self, ended: training_pb2.EpochEnded, seat: Seat) -> None:
        """Raise InternalError (TRAINING_WEIGHTS_DIFFER) when copies are no longer equal."""
        digests = self._digests.setdefault(ended.epoch, {})
        digests[seat.instance.id] = ended.weights_sha256
        if len(set(digests.values())) > 1:
            told = ", ".join(f"{name} has {digest[:12]}" for name, digest in digests.items())
            raise InternalError(
                f"after epoch {ended.epoch} the workers' weights differ: {told}",
                reason="TRAINING_WEIGHTS_DIFFER",
            )


def _failure(instance: Instance, failed: training_pb2.Failed) -> Exception:
    if failed.again:
        return MemberLostError(instance, Cause.FAILED, f"failed: {failed.error.message}")
    return from_status(failed.error)


def _errors(tasks: Sequence[asyncio.Task[None]]) -> list[BaseException]:
    done = [task for task in tasks if task.done() and not task.cancelled()]
    return [error for task in done if (error := task.exception()) is not None]


def _is_effect(error: BaseException) -> bool:
    return isinstance(error, MemberLostError) and error.cause is Cause.FAILED


def _rank(error: BaseException) -> int:
    if isinstance(error, FacetError):
        return 0
    return error.cause if isinstance(error, MemberLostError) else -1
