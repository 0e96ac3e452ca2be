"""Load of which every single request is told: when it was sent, when and how it ended.

Closed: so many callers, each of which asks again when it has its answer. Open: requests arrive by
themselves at random moments (Poisson), however slow the answers are.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import uvloop

from benchmarks.load import RECOGNIZE, Call
from facet.recognition.v1 import recognition_pb2

OK: Final = "OK"
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Order:
    """What one run does."""

    seconds: float
    timeout_s: float
    """The deadline of each request."""
    callers: int = 0
    """Closed loop: how many."""
    per_s: float = 0.0
    """Open loop: requests a second, on average."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request. Moments are those of `time.perf_counter`, which all processes share."""

    sent: float
    ended: float
    outcome: str
    """OK, or the name of the gRPC status; "WRONG" when the picture was not recognised."""

    @property
    def latency_s(self) -> float:
        """How long the caller waited."""
        return self.ended - self.sent


class RecordedLoad:
    """Load from one process, on one channel, one picture a request."""

    def __init__(self, address: str, requests: Callable[[], Sequence[bytes]]) -> None:
        self._address = address
        self._requests = itertools.cycle(requests())
        self._random = random.Random(SEED)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._channel: grpc.aio.Channel | None = None

    def run(self, order: Order) -> list[Record]:
        """Send for so many seconds; returns when all that was sent has ended."""
        return self._runner.run(self._run(order))

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._runner.run(self._channel.close())
        self._runner.close()

    async def _run(self, order: Order) -> list[Record]:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address)
        call: Call = self._channel.unary_unary(
            RECOGNIZE, response_deserializer=recognition_pb2.RecognizeResponse.FromString
        )
        records: list[Record] = []
        end = time.perf_counter() + order.seconds

        async def caller() -> None:
            while time.perf_counter() < end:
                records.append(await self._ask(call, order.timeout_s))

        async def visitor() -> None:
            records.append(await self._ask(call, order.timeout_s))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(order.callers):
                tasks.create_task(caller())
            arrival = time.perf_counter()
            while order.per_s:
                arrival += self._random.expovariate(order.per_s)
                if arrival >= end:
                    break
                await asyncio.sleep(arrival - time.perf_counter())
                tasks.create_task(visitor())
        return records

    async def _ask(self, call: Call, timeout_s: float) -> Record:
        sent = time.perf_counter()
        try:
            response = await call(next(self._requests), timeout=timeout_s)
            right = len(response.results) == 1 and response.results[0].classification.classes
            outcome = OK if right else "WRONG"
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
        return Record(sent, time.perf_counter(), outcome)
