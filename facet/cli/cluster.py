"""`facet wait` and `facet status`."""

import asyncio
from typing import Annotated

import typer
from google.protobuf import json_format

from facet.cli.gateway_options import calls_gateway
from facet.cli.options import DEFAULT_GATEWAY, Json, ToGateway
from facet.cli.output import answers, errors_to, notices, write_json
from facet.cli.status_view import status_view
from facet.client.connection import Gateway
from facet.client.readiness import wait_ready
from facet.client.watching import get_cluster
from services.common.models.key import ModelKey


@calls_gateway
def wait(
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 60.0,
    gateway: ToGateway = DEFAULT_GATEWAY,
) -> None:
    """Return 0 as soon as the cluster can answer, 1 after the timeout."""
    missing = asyncio.run(_wait(gateway, timeout))
    if missing:
        errors_to(f"not ready after {timeout:g} s: {'; '.join(missing)}")
        raise typer.Exit(1)


async def _wait(gateway: Gateway, timeout: float) -> list[str]:
    """Return what was still missing at the end."""
    last = [f"no gateway answers at {gateway}"]

    def progress(serving: list[str], missing: list[str]) -> None:
        last[:] = missing

    try:
        async with asyncio.timeout(timeout):
            await wait_ready(gateway, 0, progress)
    except TimeoutError:
        return last
    return []


@calls_gateway
def status(as_json: Json = False, gateway: ToGateway = DEFAULT_GATEWAY) -> None:
    """Show every instance, what the shards do and could do, and what waits."""
    cluster = asyncio.run(get_cluster(gateway))
    if as_json:
        write_json(
            json_format.MessageToDict(
                cluster,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            ),
            indent=2,
        )
        return
    console = answers()
    for part in status_view(cluster):
        console.print(part)
    for instance in cluster.instances:
        for refused in instance.refused:
            key = ModelKey.from_message(refused.model)
            notices().print(f"[yellow]{instance.id} refused {key}:[/] {refused.reason}")
    if not cluster.registry_reachable:
        notices().print("[yellow]The registry is unreachable; this is its last view.[/]")
    for missing in cluster.missing:
        notices().print(f"[yellow]Not ready:[/] {missing}")
