"""The scheduler: `python -m services.scheduler`."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import structlog
from prometheus_client.core import Metric

from facet.scheduler.v1 import scheduler_pb2_grpc
from services.common.metrics.families import gauge
from services.common.process import Context, Service, Servicer, run_service
from services.common.rpc.leader import SCHEDULER_ROLE
from services.common.settings import ServiceSettings
from services.scheduler.core import Scheduler
from services.scheduler.desk import Desk
from services.scheduler.metrics import queue_metrics, shard_metrics, tally_metrics
from services.scheduler.servicer import SchedulerServicer

log = structlog.get_logger(__name__)

NAME: Final = "scheduler"


class SchedulerService(Service):
    """Serves while it leads; stands by otherwise."""

    def __init__(self, settings: ServiceSettings, context: Context) -> None:
        self._context = context
        self.core = Scheduler(context.instance.id)
        self._desk = Desk(self.core, context.trail)
        self._campaign: asyncio.Task[None] | None = None
        self.servicers = (
            Servicer(
                "facet.scheduler.v1.SchedulerService",
                scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
                SchedulerServicer(self._desk),
            ),
        )

    async def start(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Stand for the leadership."""
        background(self._desk.keep_time())
        background(self._lead())

    def metrics(self) -> Iterable[Metric]:
        """Tell what waits, what was done, and what is known of the shards."""
        yield gauge(
            "facet_scheduler_leading", "1 while this scheduler leads.", int(self._desk.leading)
        )
        yield gauge(
            "facet_scheduler_dispatchers",
            "Gateways that lease from this scheduler.",
            self._desk.dispatchers,
        )
        yield from queue_metrics(self.core)
        yield from tally_metrics(self.core.tally)
        yield from shard_metrics(self.core.shards, time.monotonic())

    async def drain(self) -> None:
        """Let another lead: dispatchers and shards go there with all they have."""
        if self._campaign is not None:
            self._campaign.cancel()
            await asyncio.gather(self._campaign, return_exceptions=True)
        self._desk.leading = False
        self._desk.close_streams()

    async def _lead(self) -> None:
        self._campaign = asyncio.create_task(self._follow_campaign())
        await asyncio.wait({self._campaign})
        if not self._campaign.cancelled():
            self._campaign.result()

    async def _follow_campaign(self) -> None:
        address = self._context.instance.address
        async for leading in self._context.registry.campaign(SCHEDULER_ROLE, address):
            log.info("leading" if leading else "standing by", address=address)
            self._desk.leading = leading
            if not leading:
                self._desk.close_streams()


def main() -> None:
    """Run the scheduler until SIGTERM."""
    run_service(NAME, ServiceSettings, SchedulerService)


if __name__ == "__main__":
    main()
