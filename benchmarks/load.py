"""Closed-loop load: so many callers, each of which asks again when it has its answer."""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import grpc
import uvloop

from benchmarks.measurement import Measurement, Window, warm_s
from facet.recognition.v1 import recognition_pb2

RECOGNIZE: Final = "/facet.recognition.v1.RecognitionService/Recognize"
TIMEOUT_S: Final = 60.0

Call: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, recognition_pb2.RecognizeResponse]"


class Door(Protocol):
    """How a client asks a server. Made inside a running event loop."""

    async def ask(self, request: bytes, images: int) -> None:
        """Send a request; raise RuntimeError unless so many images were recognised."""

    async def close(self) -> None:
        """Close its connections."""


def open_channel(address: str, tls_ca: Path | None = None) -> grpc.aio.Channel:
    """Return a channel: TLS where there is a PEM file of authorities, else plain text."""
    if tls_ca is None:
        return grpc.aio.insecure_channel(address)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(tls_ca.read_bytes()))


class RecognitionDoor:
    """Recognize, on one channel; see `open_channel`."""

    def __init__(self, address: str, tls_ca: Path | None = None) -> None:
        self._channel = open_channel(address, tls_ca)
        # Requests are serialised beforehand: what is left of the client is sending and parsing.
        self._call: Call = self._channel.unary_unary(
            RECOGNIZE, response_deserializer=recognition_pb2.RecognizeResponse.FromString
        )

    async def ask(self, request: bytes, images: int) -> None:
        """See Door.ask."""
        response = await self._call(request, timeout=TIMEOUT_S)
        if (
            len(response.results) != images
            or response.partial
            or not all(result.classification.classes for result in response.results)
        ):
            raise RuntimeError(f"not all images were recognised by all: {response}")

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a load process does."""

    address: str
    """host:port of what answers."""
    requests: Callable[[], Sequence[bytes]]
    """Makes the serialised requests, over there."""
    images: int
    """Images in each."""
    callers: int
    pids: Mapping[str, int] = field(default_factory=dict)
    """Processes whose processor time is measured, besides the client's own."""
    door: Callable[[str], Door] = RecognitionDoor
    """Makes the door at the address."""


class ClosedLoop:
    """Load from one process, through one door. Every answer is parsed and checked."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._requests = itertools.cycle(plan.requests())
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._door: Door | None = None
        self._stopping = False

    def run(self, seconds: float) -> Measurement:
        """See Runner.run."""
        return self._runner.run(self._run(seconds))

    def close(self) -> None:
        """Close the door."""
        if self._door is not None:
            self._runner.run(self._door.close())
        self._runner.close()

    async def _run(self, seconds: float) -> Measurement:
        if self._door is None:
            self._door = self._plan.door(self._plan.address)
        window = Window({**self._plan.pids, "client": os.getpid()})
        self._stopping = False
        async with asyncio.TaskGroup() as callers:
            for _ in range(self._plan.callers):
                callers.create_task(self._caller(self._door, window))
            await asyncio.sleep(warm_s(seconds))
            window.open()
            await asyncio.sleep(seconds)
            measurement = window.close()
            self._stopping = True
        return measurement

    async def _caller(self, door: Door, window: Window) -> None:
        images = self._plan.images
        while not self._stopping:
            started = time.perf_counter()
            await door.ask(next(self._requests), images)
            window.done(images, started)
