"""The shard itself: takes grants and their parts, runs them, and asks for more."""

import asyncio
import time
from typing import Final

import grpc
import structlog

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from services.common.deadline import Deadline
from services.common.registry import Instance
from services.common.rpc.outgoing import Outgoing
from services.common.shared_memory import Attachments
from services.inference.batch import Part
from services.inference.device import Device
from services.inference.grants import GrantBook
from services.inference.host import ModelHost

log = structlog.get_logger(__name__)

GRANTS_IN_HAND: Final = 2
"""One runs on the device while the next one's tensors arrive."""
PART_WAIT_S: Final = 0.25
"""How long to wait for the other parts of a grant that the scheduler has not announced."""


class Shard:
    """Connects the scheduler's grants, the dispatchers' parts and the device."""

    def __init__(self, instance: Instance, host: ModelHost, device: Device) -> None:
        self._instance = instance
        self._host = host
        self._device = device
        self._grants: GrantBook[Part] = GrantBook()
        self._pulls = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._parts_in_hand = 0
        self._expiry_changed = asyncio.Event()
        self._to_scheduler: Outgoing[scheduler_pb2.PullRequest] = Outgoing()

    # Parts, from dispatchers.

    async def infer(
        self, attachments: Attachments, request: inference_pb2.InferRequest
    ) -> inference_pb2.InferResponse:
        """Run one dispatcher's part of a grant; raises the part's domain error.

        `attachments` holds the shared memory of the stream that it came by.
        """
        answer: asyncio.Future[inference_pb2.InferResponse] = (
            asyncio.get_running_loop().create_future()
        )
        part = Part(request, Deadline.after_ms(request.timeout_ms), answer, attachments)
        self._parts_in_hand += 1
        self._device.load.outstanding_images += part.images
        self._note_idle()
        try:
            expires = time.monotonic() + PART_WAIT_S
            batch = self._grants.add(request.grant_id, part, request.grant_parts, expires)
            if batch is not None:
                self._submit(request.grant_id, batch)
            else:
                self._expiry_changed.set()
            return await answer
        finally:
            self._parts_in_hand -= 1
            self._device.load.outstanding_images -= part.images
            self._note_idle()

    def _submit(self, grant_id: str, parts: list[Part]) -> None:
        self._device.submit(parts, lambda: self._finished(grant_id))

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
                    log.debug("grant expired", grant=grant_id, parts=len(parts))
                    self._submit(grant_id, parts)

    # Grants, from the scheduler.

    async def session(self, channel: grpc.aio.Channel) -> None:
        """Ask the leading scheduler for work until the stream breaks."""
        self._to_scheduler = outgoing = Outgoing[scheduler_pb2.PullRequest]()
        self._grants.forget_scheduler()
        self._note_idle()
        self._pulls = 0
        hello = scheduler_pb2.ShardHello(shard=self._instance.id, address=self._instance.address)
        outgoing.put(
            scheduler_pb2.PullRequest(
                hello=hello,
                models=self._host.descriptors,
                models_included=True,
                draining=self._draining,
            )
        )
        while self._wants_more():
            outgoing.put(scheduler_pb2.PullRequest(pull=True))
        stream = scheduler_pb2_grpc.SchedulerServiceStub(channel).Pull(outgoing)
        try:
            async for response in stream:
                self._granted(response.grant)
        finally:
            outgoing.close()
            stream.cancel()

    def models_changed(self) -> None:
        """Tell the scheduler what can run here now."""
        self._to_scheduler.put(
            scheduler_pb2.PullRequest(models=self._host.descriptors, models_included=True)
        )

    async def drain(self) -> None:
        """Take no more grants and wait until those in hand are finished."""
        self._draining = True
        self._to_scheduler.put(scheduler_pb2.PullRequest(draining=True))
        await self._idle.wait()

    def _granted(self, grant: scheduler_pb2.Grant) -> None:
        self._pulls -= 1
        expires = time.monotonic() + grant.expires_ms / 1000
        if self._grants.announce(grant.grant_id, grant.parts, expires):
            self._report_finished(grant.grant_id)
        self._expiry_changed.set()
        self._note_idle()

    def _finished(self, grant_id: str) -> None:
        if self._grants.finish(grant_id, time.monotonic()):
            self._report_finished(grant_id)
        self._note_idle()

    def _report_finished(self, grant_id: str) -> None:
        # With the news goes the request for more: a message costs more than what is in it.
        self._to_scheduler.put(
            scheduler_pb2.PullRequest(finished=[grant_id], pull=self._wants_more())
        )

    def _wants_more(self) -> bool:
        """There is room for one more grant; counts it as asked for."""
        more = not self._draining and self._grants.in_hand + self._pulls < GRANTS_IN_HAND
        self._pulls += more
        return more

    def _note_idle(self) -> None:
        if self._grants.in_hand or self._parts_in_hand:
            self._idle.clear()
        else:
            self._idle.set()
