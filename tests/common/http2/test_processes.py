"""Servers in processes of their own that die or freeze in the middle."""

import asyncio
import signal

import grpc
import pytest

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from services.common.http2.channel import Channel
from tests.common.rpc.echo import NEVER
from tests.common.rpc.test_links import echo_process
from tests.outgoing import Outgoing
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_calls_to_a_process_that_is_gone_fail(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("services.common.http2.channel.PING_AFTER_S", 0.1)
    monkeypatch.setattr("services.common.http2.channel.PONG_WITHIN_S", 2.0)
    outgoing = Outgoing[preprocessing_pb2.PrepareRequest]()
    async with echo_process() as process, Channel(f"127.0.0.1:{process.port}") as channel:
        stub = preprocessing_pb2_grpc.PreprocessingServiceStub(channel)
        call = stub.Prepare(outgoing)
        outgoing.put(preprocessing_pb2.PrepareRequest(call_id=1))
        responses = aiter(call)
        assert (await anext(responses)).call_id == 1
        outgoing.put(preprocessing_pb2.PrepareRequest(call_id=2, images=[NEVER]))
        process._process.send_signal(number)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async with asyncio.timeout(PATIENCE_S):
                await anext(responses)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        monkeypatch.setattr("services.common.http2.channel.CONNECT_WITHIN_S", 0.5)
        # Neither does a new one hang: a frozen process still has a socket that takes connections.
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async with asyncio.timeout(PATIENCE_S):
                await stub.Prepare(Outgoing()).wait_for_connection()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
