"""Requests of all sizes: closed loop, or arriving at random moments at so many images a second."""

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

import grpc
import numpy as np
import uvloop

from benchmarks.load import RECOGNIZE, Call
from benchmarks.models import DIGITS
from benchmarks.requests import tensor_requests
from facet.recognition.v1 import recognition_pb2

SIZES: Final = (1, 1, 1, 1, 2, 2, 3, 4, 6, 8, 12, 16)
"""Images of a request; small ones are more."""
SHAPES: Final = {DIGITS: (28, 28, 1)}
PHOTOGRAPH: Final = (224, 224, 3)
SEED: Final = 1


class Answer(NamedTuple):
    """What became of one request."""

    images: int
    ended_s: float
    """Since the run began."""
    seconds: float
    """How long it took."""
    outcome: str
    """OK, or the name of its status."""


@dataclass(frozen=True, slots=True)
class MixedOrder:
    """What one run does."""

    seconds: float
    timeout_s: float
    callers: int = 0
    """Closed loop: how many."""
    images_per_s: float = 0.0
    """Open loop: on average."""


class Mixed:
    """Load from one process, on one channel. Pixels are random: a CNN takes as long for any."""

    def __init__(self, address: str, model: str) -> None:
        self._address = address
        pixels = np.random.default_rng(SEED).integers(
            0, 256, (max(SIZES), *SHAPES.get(model, PHOTOGRAPH)), np.uint8
        )
        self._requests = {
            size: tensor_requests(model, pixels[:size], size)[0] for size in set(SIZES)
        }
        self._random = random.Random(SEED)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._channel: grpc.aio.Channel | None = None

    def run(self, order: MixedOrder) -> list[Answer]:
        """Send for so many seconds; returns when all that was sent has ended."""
        return self._runner.run(self._run(order))

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._runner.run(self._channel.close())
        self._runner.close()

    async def _run(self, order: MixedOrder) -> list[Answer]:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address)
        call: Call = self._channel.unary_unary(
            RECOGNIZE, response_deserializer=recognition_pb2.RecognizeResponse.FromString
        )
        answers: list[Answer] = []
        start = time.perf_counter()
        end = start + order.seconds
        per_s = order.images_per_s * len(SIZES) / sum(SIZES)

        async def ask() -> None:
            answers.append(await self._ask(call, order.timeout_s, start))

        async def caller() -> None:
            while time.perf_counter() < end:
                await ask()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(order.callers):
                tasks.create_task(caller())
            arrival = time.perf_counter()
            while per_s:
                arrival += self._random.expovariate(per_s)
                if arrival >= end:
                    break
                await asyncio.sleep(arrival - time.perf_counter())
                tasks.create_task(ask())
        return answers

    async def _ask(self, call: Call, timeout_s: float, start: float) -> Answer:
        size = self._random.choice(SIZES)
        sent = time.perf_counter()
        try:
            response = await call(self._requests[size], timeout=timeout_s)
            outcome = "OK" if len(response.results) == size else "WRONG"
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        ended = time.perf_counter()
        return Answer(size, ended - start, ended - sent, outcome)
