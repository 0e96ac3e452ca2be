"""What a running cluster makes of a version: waiting until it serves it, or why it does not."""

import asyncio
from dataclasses import replace

from rich.console import Console

from facet.cli.options import DEFAULT_GATEWAY
from facet.client.connection import Gateway, connect
from facet.client.serving import refusals, wait_served
from services.common.errors import UnavailableError
from services.common.models.key import ModelKey


def tell_when_served(key: ModelKey, gateway: Gateway, timeout: float, console: Console) -> None:
    """Wait until the cluster serves a promoted version, and say so.

    Without a gateway's name, the usual one is asked, and that it does not answer or serves other
    models is no error. Raises ModelRefusedError when the cluster refuses the version, and
    UnavailableError: UNREACHABLE when a gateway that was named does not answer, NOT_SERVED when it
    does not serve the version in time.
    """
    if not timeout:
        return
    where = _usual(gateway)
    try:
        with console.status(f"Waiting until {where} serves {key}"):
            asyncio.run(_wait(where, key, timeout))
    except UnavailableError as error:
        if gateway.address or error.reason not in ("UNREACHABLE", "NOT_SERVED"):
            raise
        console.print(f"Nothing was waited for: {error.message}")
        return
    console.print(f"The cluster at {where} serves [bold]{key}[/]")


def refused_by(key: ModelKey, gateway: Gateway) -> dict[str, str]:
    """Return which shards have refused a version, and why.

    Nothing when no gateway's name is given and the usual one does not answer; UnavailableError
    (UNREACHABLE) when one that was named does not.
    """

    async def ask(where: Gateway) -> dict[str, str]:
        async with connect(where) as channel:
            return await refusals(where, channel, key)

    try:
        return asyncio.run(ask(_usual(gateway)))
    except UnavailableError:
        if gateway.address:
            raise
        return {}


def _usual(gateway: Gateway) -> Gateway:
    return gateway if gateway.address else replace(gateway, address=DEFAULT_GATEWAY.address)


async def _wait(gateway: Gateway, key: ModelKey, timeout: float) -> None:
    try:
        async with connect(gateway) as channel, asyncio.timeout(timeout):
            await wait_served(gateway, channel, key)
    except TimeoutError:
        raise UnavailableError(
            f"{key} is promoted, but the cluster at {gateway} does not serve it after "
            f"{timeout:g} s; it may serve another model repository",
            reason="NOT_SERVED",
        ) from None
