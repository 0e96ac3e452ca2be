"""`facet up`."""

import asyncio
import signal
from typing import Annotated

import typer
from rich.markup import escape
from rich.status import Status

from facet.cli.options import DEFAULT_HOME, Home, Models, Registry
from facet.cli.output import notices
from facet.launcher.local_cluster import LocalCluster, run_cluster
from facet.launcher.plan import ClusterPlan
from facet.launcher.supervisor import Death


def up(
    shards: Annotated[int, typer.Option(min=1, help="Inference processes.")] = 2,
    preprocessing: Annotated[int, typer.Option(min=1, help="Preprocessing processes.")] = 1,
    aggregation: Annotated[int, typer.Option(min=1, help="Aggregation processes.")] = 1,
    gateways: Annotated[
        int,
        typer.Option(
            min=1, envvar="FACET_GATEWAYS", help="Gateways; several share the public port."
        ),
    ] = 1,
    schedulers: Annotated[int, typer.Option(min=1, help="Schedulers; one leads.")] = 1,
    port: Annotated[int, typer.Option(envvar="FACET_PORT", help="Public port.")] = 50051,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    models: Models = "",
    registry: Registry = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Run all services as processes on this machine until Ctrl-C."""
    given = {"FACET_MODELS": models, "FACET_REGISTRY": registry}
    plan = ClusterPlan(
        home=home.expanduser().resolve(),
        port=port,
        host=host,
        instances={
            "inference": shards,
            "preprocessing": preprocessing,
            "aggregation": aggregation,
            "scheduler": schedulers,
            "gateway": gateways,
        },
        settings={name: value for name, value in given.items() if value},
    )
    asyncio.run(_up(plan))


async def _up(plan: ClusterPlan) -> None:
    console = notices()
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)

    def report(death: Death) -> None:
        console.print(
            f"[yellow]{death.name} died[/] ({escape(death.reason)}); "
            f"starting it again in {death.restart_in_s:g} s"
        )

    async with run_cluster(plan, report) as cluster:
        stop = asyncio.create_task(asked_to_stop.wait())
        with console.status("Starting") as status:
            gateway = await _until_ready(cluster, stop, status)
        if gateway is not None:
            console.print(f"Ready: gateway at [bold]{gateway}[/], state in {plan.home}")
        await asyncio.wait({stop, cluster.running}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if cluster.running.done():
            cluster.running.result()
        console.print("Stopping: answering what is in hand")
    console.print("Stopped")


async def _until_ready(
    cluster: LocalCluster, stop: asyncio.Task[bool], status: Status
) -> str | None:
    """Return the gateway's address; None when it is stopped before."""

    def progress(serving: list[str], missing: list[str]) -> None:
        waiting = "; ".join(missing) or "waiting for the last processes"
        status.update(f"Starting: {len(serving)} processes serve; {escape(waiting)}")

    ready = asyncio.create_task(cluster.ready(progress))
    try:
        await asyncio.wait({ready, stop}, return_when=asyncio.FIRST_COMPLETED)
        return ready.result() if ready.done() else None
    finally:
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
