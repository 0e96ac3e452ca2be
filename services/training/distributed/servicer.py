"""facet.training.v1: a stream ⇄ a member's process."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import structlog
from prometheus_client.core import Metric

from facet.training.v1 import training_pb2, training_pb2_grpc
from services.common.errors import DrainingError, InvalidRequestError, UnavailableError
from services.common.metrics.counts import Tally
from services.common.metrics.families import counter, gauge
from services.common.rpc.context import ServicerContext, abort
from services.training.distributed.member_process import MemberProcess, run_member_process
from services.training.metrics import Figures

log = structlog.get_logger(__name__)

BUSY_S: Final = 3.0
"""How long a reservation waits for the former member's end."""

_FIRST_PORT: Final = 10_000
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


class TrainingWorkerServicer(training_pb2_grpc.TrainingWorkerServiceServicer):
    """Runs one member at a time."""

    def __init__(self, host: str, threads: int) -> None:
        """`host` is where the other members reach this machine."""
        self._host = f"[{host}]" if ":" in host else host
        self._threads = threads
        self._free = asyncio.Lock()
        self._member: MemberProcess | None = None
        self._draining = False
        self._figures = Figures()
        self._members = Tally("finished", "failed", "lost")

    def metrics(self) -> Iterable[Metric]:
        """Tell Prometheus where the training is, and what became of members."""
        yield gauge(
            "facet_training_member_running",
            "1 while a member of a training runs here.",
            int(self._member is not None),
        )
        yield counter(
            "facet_training_members",
            "Members that have ended, by outcome: finished, failed, or lost to another reason.",
            self._members,
            ("outcome",),
        )
        yield from self._figures.metrics()

    def drain(self) -> None:
        """End the member that runs; there is no other."""
        self._draining = True
        if self._member is not None:
            self._member.kill()

    async def RunMember(
        self,
        requests: AsyncIterator[training_pb2.RunMemberRequest],
        context: ServicerContext,
    ) -> None:
        """Serve one coordinator."""
        await self._expect(requests, "reserve", context)
        try:
            async with asyncio.timeout(BUSY_S):
                await self._free.acquire()
        except TimeoutError:
            await abort(
                context,
                UnavailableError("the worker takes part in a training", reason="WORKER_BUSY"),
            )
        try:
            reserved = training_pb2.Reserved(address=f"{self._host}:{_free_port()}")
            await context.write(training_pb2.RunMemberResponse(reserved=reserved))
            request = await self._expect(requests, "start", context)
            await self._run(request.start, context)
        finally:
            self._free.release()

    async def _expect(
        self,
        requests: AsyncIterator[training_pb2.RunMemberRequest],
        kind: str,
        context: ServicerContext,
    ) -> training_pb2.RunMemberRequest:
        if self._draining:
            await abort(context, DrainingError("the worker is shutting down"))
        request = await anext(requests, None)
        if request is None or request.WhichOneof("request") != kind:
            await abort(context, InvalidRequestError(f"the next message must be {kind!r}"))
        return request

    async def _run(self, start: training_pb2.Start, context: ServicerContext) -> None:
        outcome = "lost"
        log.info("member starts", job=start.job_url, index=start.index, members=len(start.members))
        try:
            async with run_member_process(start, self._threads) as member:
                self._member = member
                async for event in member.events():
                    outcome = self._hear(event) or outcome
                    await context.write(event)
        finally:
            self._member = None
            self._members.add(outcome)
            log.info("member ended", job=start.job_url, index=start.index)

    def _hear(self, event: training_pb2.RunMemberResponse) -> str | None:
        """Count what a member tells; return how it ended, if it has."""
        kind = event.WhichOneof("event")
        if kind == "stepped":
            told = event.stepped
            self._figures.step(told.loss, told.accuracy, told.images_per_s)
        elif kind == "epoch_ended":
            self._figures.epochs += 1
        return kind if kind in ("finished", "failed") else None


def _free_port() -> int:
    """Return a port that nobody listens on, and that the kernel hands out to nobody.

    The member's server takes it some seconds later; TensorFlow lets no socket share it.
    """
    end = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else _FIRST_PORT + 20_000
    while True:
        port = random.randrange(_FIRST_PORT, end)  # no secret
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
