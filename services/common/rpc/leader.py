"""Following the process that holds a role, through elections and restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import structlog

from services.common.http2.channel import Channel
from services.common.http2.tls import ClientTls
from services.common.registry import Registry
from services.common.rpc.cancellation import heed_cancellation

log = structlog.get_logger(__name__)

SCHEDULER_ROLE: Final = "scheduler"
RETRY_S: Final = 0.2


async def follow_leader(
    registry: Registry,
    role: str,
    session: Callable[[Channel], Awaitable[None]],
    tls: ClientTls | None = None,
) -> None:
    """Run `session` on a channel to the leader, again whenever it ends or the leader changes.

    Candidates stand for a role under their address (host:port). Never returns; cancel it.
    """
    current: asyncio.Task[None] | None = None
    try:
        async for address in registry.watch_leader(role):
            await _stop(current)
            current = None
            log.info("leader changed", role=role, leader=address)
            if address is not None:
                current = asyncio.create_task(_sessions(address, session, tls))
    finally:
        await _stop(current)


async def _sessions(
    address: str, session: Callable[[Channel], Awaitable[None]], tls: ClientTls | None
) -> None:
    async with Channel(address, tls) as channel:
        while True:
            try:
                await session(channel)
            except grpc.aio.AioRpcError as error:
                log.debug("session with the leader ended", leader=address, reason=error.details())
            except Exception:
                log.exception("session with the leader failed", leader=address)
            heed_cancellation()
            await asyncio.sleep(RETRY_S)


async def _stop(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
