"""Closed-loop load over one StreamRecognize: so many requests are in flight at any time."""

import asyncio
import itertools
import os
import time
from pathlib import Path

import grpc
import uvloop

from benchmarks.load import LoadPlan, open_channel
from benchmarks.measurement import Measurement, Window, warm_s
from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc


class StreamLoad:
    """Load from one process, on one stream. Every answer is parsed and checked."""

    def __init__(self, plan: LoadPlan, tls_ca: Path | None = None) -> None:
        """`tls_ca`: see `open_channel`."""
        self._plan = plan
        self._tls_ca = tls_ca
        self._requests = itertools.cycle(
            recognition_pb2.RecognizeRequest.FromString(each) for each in plan.requests()
        )
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def run(self, seconds: float) -> Measurement:
        """See Runner.run."""
        return self._runner.run(self._run(seconds))

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()

    async def _run(self, seconds: float) -> Measurement:
        window = Window({**self._plan.pids, "client": os.getpid()})
        async with open_channel(self._plan.address, self._tls_ca) as channel:
            stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
            stream = stub.StreamRecognize()
            exchange = asyncio.create_task(self._exchange(stream, window))
            await asyncio.wait({exchange}, timeout=warm_s(seconds))
            window.open()
            await asyncio.wait({exchange}, timeout=seconds)
            measurement = window.close()
            if exchange.done():
                exchange.result()
                raise RuntimeError("the stream ended by itself")
            exchange.cancel()
            await asyncio.gather(exchange, return_exceptions=True)
            stream.cancel()
        return measurement

    async def _exchange(
        self,
        stream: grpc.aio.StreamStreamCall[
            recognition_pb2.StreamRecognizeRequest, recognition_pb2.StreamRecognizeResponse
        ],
        window: Window,
    ) -> None:
        """Send the first requests, then another for each answer."""
        sent: dict[str, float] = {}
        numbers = itertools.count()

        async def send() -> None:
            name = str(next(numbers))
            sent[name] = time.perf_counter()
            request = next(self._requests)
            await stream.write(recognition_pb2.StreamRecognizeRequest(id=name, request=request))

        for _ in range(self._plan.callers):
            await send()
        async for answer in stream:
            if not all(result.classification.classes for result in answer.response.results):
                raise RuntimeError(f"not all images were recognised: {answer}")
            window.done(self._plan.images, sent.pop(answer.id))
            await send()
