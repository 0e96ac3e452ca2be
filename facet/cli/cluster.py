"""`facet wait` and `facet status`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format
from rich.table import Table

from facet.cli.options import DEFAULT_GATEWAY, ApiKeyFile, Gateway, Json
from facet.cli.output import answers, errors_to, notices, write_json
from facet.client.connection import connect, domain_errors
from facet.client.readiness import wait_ready
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from services.common.models.key import ModelKey

TIMEOUT_S = 10.0

_STATES = {
    cluster_pb2.INSTANCE_STATE_SERVING: "[green]serving[/]",
    cluster_pb2.INSTANCE_STATE_UNREACHABLE: "[red]unreachable[/]",
    cluster_pb2.INSTANCE_STATE_STANDBY: "standby",
}


def wait(
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 60.0,
    gateway: Gateway = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Return 0 as soon as the cluster can answer, 1 after the timeout."""
    missing = asyncio.run(_wait(gateway, api_key_file, timeout))
    if missing:
        errors_to(f"not ready after {timeout:g} s: {'; '.join(missing)}")
        raise typer.Exit(1)


async def _wait(gateway: str, api_key_file: Path | None, timeout: float) -> list[str]:
    """Return what was still missing at the end."""
    last = [f"no gateway answers at {gateway}"]

    def progress(serving: list[str], missing: list[str]) -> None:
        last[:] = missing

    try:
        async with connect(gateway, api_key_file) as channel, asyncio.timeout(timeout):
            await wait_ready(channel, 0, progress)
    except TimeoutError:
        return last
    return []


def status(
    as_json: Json = False,
    gateway: Gateway = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Show every instance and shard: service, id, address, state, models, load."""
    cluster = asyncio.run(_cluster(gateway, api_key_file))
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
    answers().print(_table(cluster))
    for instance in cluster.instances:
        for refused in instance.refused:
            key = ModelKey.from_message(refused.model)
            notices().print(f"[yellow]{instance.id} refused {key}:[/] {refused.reason}")
    if not cluster.registry_reachable:
        notices().print("[yellow]The registry is unreachable; this is its last view.[/]")
    for missing in cluster.missing:
        notices().print(f"[yellow]Not ready:[/] {missing}")


async def _cluster(gateway: str, api_key_file: Path | None) -> cluster_pb2.Cluster:
    async with connect(gateway, api_key_file) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        with domain_errors(gateway):
            response: cluster_pb2.GetClusterResponse = await stub.GetCluster(
                cluster_pb2.GetClusterRequest(), timeout=TIMEOUT_S
            )
    return response.cluster


def _table(cluster: cluster_pb2.Cluster) -> Table:
    table = Table(box=None)
    for heading in ("service", "instance", "address", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("models", overflow="fold", min_width=12)
    for heading in ("in hand", "images", "batches", "ms/image"):
        table.add_column(heading, justify="right", no_wrap=True)
    for instance in cluster.instances:
        load = instance.load
        per_image = (
            f"{load.device_us / load.completed_images / 1000:.2f}" if load.completed_images else ""
        )
        is_shard = instance.HasField("load")
        table.add_row(
            instance.service,
            instance.id,
            instance.address,
            _STATES.get(instance.state, ""),
            " ".join(str(ModelKey.from_message(model)) for model in instance.models),
            str(load.outstanding_images) if is_shard else "",
            str(load.completed_images) if is_shard else "",
            str(load.completed_batches) if is_shard else "",
            per_image,
        )
    return table
