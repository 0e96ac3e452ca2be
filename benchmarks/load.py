"""Closed-loop load: so many callers, each of which asks again when it has its answer."""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import grpc
import uvloop

from benchmarks.measurement import Measurement, Window, warm_s
from facet.recognition.v1 import recognition_pb2

RECOGNIZE: Final = "/facet.recognition.v1.RecognitionService/Recognize"
TIMEOUT_S: Final = 60.0

Call: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, recognition_pb2.RecognizeResponse]"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a load process does."""

    address: str
    """host:port of what answers RecognizeRequests."""
    requests: Callable[[], Sequence[bytes]]
    """Makes the serialised requests, over there."""
    images: int
    """Images in each."""
    callers: int
    pids: Mapping[str, int] = field(default_factory=dict)
    """Processes whose processor time is measured, besides the client's own."""


class ClosedLoop:
    """Load from one process, on one channel. Every answer is parsed and checked."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._requests = itertools.cycle(plan.requests())
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._channel: grpc.aio.Channel | None = None
        self._stopping = False

    def run(self, seconds: float) -> Measurement:
        """See Runner.run."""
        return self._runner.run(self._run(seconds))

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._runner.run(self._channel.close())
        self._runner.close()

    async def _run(self, seconds: float) -> Measurement:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._plan.address)
        # Requests are serialised beforehand: what is left of the client is sending and parsing.
        call: Call = self._channel.unary_unary(
            RECOGNIZE, response_deserializer=recognition_pb2.RecognizeResponse.FromString
        )
        window = Window({**self._plan.pids, "client": os.getpid()})
        self._stopping = False
        async with asyncio.TaskGroup() as callers:
            for _ in range(self._plan.callers):
                callers.create_task(self._caller(call, window))
            await asyncio.sleep(warm_s(seconds))
            window.open()
            await asyncio.sleep(seconds)
            measurement = window.close()
            self._stopping = True
        return measurement

    async def _caller(
        self,
        call: Call,
        window: Window,
    ) -> None:
        images = self._plan.images
        while not self._stopping:
            started = time.perf_counter()
            response = await call(next(self._requests), timeout=TIMEOUT_S)
            if len(response.results) != images or not all(
                result.classification.classes for result in response.results
            ):
                raise RuntimeError(f"not all images were recognised: {response}")
            window.done(images, started)
