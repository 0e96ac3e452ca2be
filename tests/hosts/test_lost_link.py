"""A machine that cannot be reached is noticed by its silence, before anybody pings it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.hosts.network import Host, network
from facet.aggregation.v1 import aggregation_pb2, aggregation_pb2_grpc
from services.common.http2 import channel as http2_channel
from services.common.http2.channel import Channel
from tests.waiting import PATIENCE_S

PORT = 50052


def serve_aggregation(host: Host, folder: Path) -> None:
    """Start an aggregation service there, alone."""
    settings = {
        "FACET_HOST": "0.0.0.0",
        "FACET_ADVERTISE_HOST": host.address,
        "FACET_PORT": str(PORT),
        "FACET_INSECURE": "true",
        "FACET_HOME": str(folder),
    }
    command = [sys.executable, "-m", "services.aggregation"]
    with (folder / "aggregation.log").open("wb") as log:
        host.start(command, {**os.environ, **settings}, log)


async def opened(channel: Channel) -> Any:
    """Return a stream of calls to the service, once it listens."""
    stub = aggregation_pb2_grpc.AggregationServiceStub(channel)
    while True:
        stream = stub.Combine()
        try:
            await stream.wait_for_connection()
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
        else:
            return stream


async def test_what_no_kernel_takes_ends_the_link(
    namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_channel, "PING_AFTER_S", 3600.0)
    with network() as net:
        host = net.host("far")
        serve_aggregation(host, tmp_path)
        async with asyncio.timeout(PATIENCE_S), Channel(f"{host.address}:{PORT}") as channel:
            stream = await opened(channel)
            with host.cut_off():
                stream.send(aggregation_pb2.CombineRequest(call_id=1))
                with pytest.raises(grpc.aio.AioRpcError) as lost:
                    await anext(aiter(stream))
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
