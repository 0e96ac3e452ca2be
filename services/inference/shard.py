"""The shard itself: takes grants and their parts, runs them, and asks for more."""

import asyncio
import time
from typing import Final

import structlog

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from services.common.deadline import Deadline
from services.common.http2.channel import Channel
from services.common.http2.client_call import Call
from services.common.models.key import ModelKey
from services.common.registry import Instance
from services.common.scheduling.costs import Ran
from services.common.scheduling.lead import Lead
from services.common.tracing.context import of_requests
from services.inference.batch import Caller, Part
from services.inference.device import Device
from services.inference.grants import GrantBook
from services.inference.host import ModelHost

log = structlog.get_logger(__name__)

PART_WAIT_S: Final = 0.25
"""How long to wait for the other parts of a grant that the scheduler has not announced."""
REASONS: Final = {
    inference_pb2.UNWANTED_REASON_CANCELLED: "cancelled",
    inference_pb2.UNWANTED_REASON_DEADLINE: "deadline",
    inference_pb2.UNWANTED_REASON_HEDGED: "hedged",
}
"""As ShardLoad names them."""


class Shard:
    """Connects the scheduler's grants, the dispatchers' parts and the device."""

    def __init__(self, instance: Instance, host: ModelHost, device: Device) -> None:
        self._instance = instance
        self._host = host
        self._device = device
        device.on_start = self.consider_pull
        self._grants: GrantBook[Part] = GrantBook()
        self._lead = Lead()
        self._flight_s: float | None = None
        self._pulled_at: float | None = None
        """When the pull was made that is not answered yet."""
        self._arrivals: dict[str, tuple[float, float]] = {}
        """Grant → when it was pulled, and how long the pull waited for work."""
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._parts_in_hand = 0
        self._expiry_changed = asyncio.Event()
        self._to_scheduler: Call[scheduler_pb2.PullResponse] | None = None

    # Parts, from dispatchers.

    async def infer(
        self, caller: Caller, request: inference_pb2.InferRequest
    ) -> inference_pb2.InferResponse:
        """Run one dispatcher's part of a grant; raises the part's domain error.

        `caller` is the stream that it came by.
        """
        answer: asyncio.Future[inference_pb2.InferResponse] = (
            asyncio.get_running_loop().create_future()
        )
        part = Part(request, Deadline.after_ms(request.timeout_ms), answer, caller.attachments)
        caller.parts.add(part)
        self._parts_in_hand += 1
        self._device.load.outstanding_images += part.images
        self._note_idle()
        try:
            expires = time.monotonic() + PART_WAIT_S
            batch = self._grants.add(request.grant_id, part, request.grant_parts, expires)
            if batch is not None:
                self._note_arrival(request.grant_id)
                self._submit(request.grant_id, batch)
            else:
                self._expiry_changed.set()
            return await answer
        finally:
            caller.parts.discard(part)
            self._parts_in_hand -= 1
            self._device.load.outstanding_images -= part.images
            self._note_idle()

    def unwanted(self, caller: Caller, request: inference_pb2.InferRequest) -> None:
        """Take in which pieces a dispatcher does not want any more.

        A part that has not begun and of which nothing is wanted is answered at once: its
        dispatcher holds the pixels until then. The grant is finished as always.
        """
        for piece in request.unwanted:
            for part in caller.parts:
                part.give_up(piece.piece_id, REASONS.get(piece.reason, "cancelled"))
        for part in caller.parts:
            if part.given_up and not (part.begun or part.answer.done()):
                part.answer.set_result(inference_pb2.InferResponse())
        self._device.drop_answered()

    def _submit(self, grant_id: str, parts: list[Part]) -> None:
        self._device.submit(parts, lambda ran: self._finished(grant_id, ran))
        self._arrivals.pop(grant_id, None)
        self.consider_pull()

    def _note_arrival(self, grant_id: str) -> None:
        if (arrival := self._arrivals.get(grant_id)) is not None:
            pulled, parked_s = arrival
            self._flight_s = self._lead.arrived(time.monotonic() - pulled, parked_s)

    async def expire_grants(self) -> None:
        """Let grants go that waited long enough for a part, until cancelled."""
        while True:
            self._expiry_changed.clear()
            expiry = self._grants.next_expiry
            timeout = None if expiry is None else max(0.0, expiry - time.monotonic())
            try:
                async with asyncio.timeout(timeout):
                    await self._expiry_changed.wait()
            except TimeoutError:
                for grant_id, parts in self._grants.expire(time.monotonic()):
                    whose = of_requests(each for part in parts for each in part.contexts)
                    log.debug("grant expired", grant=grant_id, parts=len(parts), **whose)
                    self._submit(grant_id, parts)

    # Grants, from the scheduler.

    async def session(self, channel: Channel) -> None:
        """Ask the leading scheduler for work until the stream breaks."""
        self._to_scheduler = stream = scheduler_pb2_grpc.SchedulerServiceStub(channel).Pull()
        self._grants.forget_scheduler()
        self._note_idle()
        self._pulled_at = None
        self._arrivals.clear()
        hello = scheduler_pb2.ShardHello(shard=self._instance.id, address=self._instance.address)
        self._say(
            scheduler_pb2.PullRequest(
                hello=hello,
                models=self._host.descriptors,
                models_included=True,
                shelf=self._host.shelf_message(),
                draining=self._draining,
            )
        )
        self.consider_pull()
        try:
            async for response in stream:
                if response.HasField("placement"):
                    self._host.hold(map(ModelKey.from_message, response.placement.hold))
                else:
                    self._granted(response.grant)
        finally:
            stream.cancel()
            self._host.hold(None)

    def models_changed(self) -> None:
        """Tell the scheduler what can run here now, and what could."""
        self._say(
            scheduler_pb2.PullRequest(
                models=self._host.descriptors,
                models_included=True,
                shelf=self._host.shelf_message(),
            )
        )

    async def drain(self) -> None:
        """Take no more grants and wait until those in hand are finished."""
        self._draining = True
        self.consider_pull()
        self._say(scheduler_pb2.PullRequest(draining=True))
        await self._idle.wait()

    def _granted(self, grant: scheduler_pb2.Grant) -> None:
        now = time.monotonic()
        if self._pulled_at is not None:
            self._arrivals[grant.grant_id] = (self._pulled_at, grant.parked_us / 1e6)
        self._pulled_at = None
        finished = self._grants.announce(grant.grant_id, grant.parts, now + grant.expires_ms / 1000)
        if finished or self._grants.has_left(grant.grant_id):  # its parts were quicker
            self._note_arrival(grant.grant_id)
            self._arrivals.pop(grant.grant_id, None)
        if finished:
            self._report_finished(grant.grant_id, None)
        self._expiry_changed.set()
        self._note_idle()
        self.consider_pull()

    def _finished(self, grant_id: str, ran: Ran | None) -> None:
        if ran is not None and self._device.clock.early_s is not None:
            self._lead.ended(self._device.clock.early_s)
        if self._grants.finish(grant_id, time.monotonic()):
            self._report_finished(grant_id, ran)
        self._note_idle()
        self.consider_pull()

    def _report_finished(self, grant_id: str, ran: Ran | None) -> None:
        message = scheduler_pb2.PullRequest(finished=[grant_id])
        if ran is not None:
            message.ran.add(images=ran.images, device_us=int(ran.seconds * 1e6))
        self._say(message)

    def consider_pull(self) -> None:
        """Ask for work now, or when the lead says so; to be called whenever anything changes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._draining:
            return
        remaining_s = self._device.clock.remaining_s(time.monotonic())
        delay = self._lead.pull_in(
            remaining_s,
            waiting=bool(self._device.waiting),
            pulled=self._pulled_at is not None or bool(self._grants.on_their_way),
        )
        if delay is None:
            return
        if delay > 0:
            self._timer = asyncio.get_running_loop().call_later(delay, self.consider_pull)
        else:
            self._pull(remaining_s)

    def _pull(self, remaining_s: float) -> None:
        self._pulled_at = time.monotonic()
        message = scheduler_pb2.PullRequest(pull=True, remaining_us=int(remaining_s * 1e6))
        if self._flight_s is not None:
            message.flight_us = int(self._flight_s * 1e6)
        self._say(message)

    def _say(self, message: scheduler_pb2.PullRequest) -> None:
        """Tell the scheduler; a new one is told anew."""
        if self._to_scheduler is not None:
            self._to_scheduler.send(message)

    def _note_idle(self) -> None:
        if self._grants.in_hand or self._parts_in_hand:
            self._idle.clear()
        else:
            self._idle.set()
