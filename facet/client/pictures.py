"""Sending picture files to a gateway, many at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from facet.client.connection import Gateway, domain_errors
from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from services.common.errors import FacetError, ImageError, OverloadedError
from services.common.statuses import from_status

IN_FLIGHT: Final = 32
OVERLOAD_RETRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one picture: classes, best first, or an error."""

    path: Path
    model: str = ""
    version: int = 0
    classes: Sequence[recognition_pb2.ClassScore] = ()
    error: FacetError | None = None
    executions: Sequence[recognition_pb2.Execution] = ()
    failures: Sequence[recognition_pb2.MemberFailure] = ()
    """Members of an ensemble that had no part in it, and why."""
    seconds: float = 0.0
    """From sending to the answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask of every picture."""

    model: recognition_pb2.ModelSelector
    options: recognition_pb2.RecognitionOptions
    timeout_s: float = 60.0


class PictureClient:
    """Asks a gateway about picture files."""

    def __init__(self, gateway: Gateway, channel: grpc.aio.Channel, question: Question) -> None:
        self._gateway = gateway
        self._stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
        self._question = question

    async def classify(self, paths: Sequence[Path]) -> AsyncIterator[Answer]:
        """Yield an answer for each file, in order; many are in flight at the same time.

        Raises the domain error of a call that failed as a whole.
        """
        waiting: list[asyncio.Task[Answer]] = []
        remaining = iter(paths)
        try:
            while True:
                while len(waiting) < IN_FLIGHT and (path := next(remaining, None)) is not None:
                    waiting.append(asyncio.create_task(self._ask(path)))
                if not waiting:
                    return
                yield await waiting[0]
                waiting.pop(0)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask(self, path: Path) -> Answer:
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            unreadable = ImageError(f"cannot be read: {error.strerror}", reason="UNREADABLE")
            return Answer(path, error=unreadable)
        request = recognition_pb2.RecognizeRequest(
            model=self._question.model,
            images=[recognition_pb2.Image(content=content)],
            options=self._question.options,
        )
        loop = asyncio.get_running_loop()
        started = loop.time()
        response = await self._call(request)
        seconds = loop.time() - started
        (result,) = response.results
        failed = result.HasField("error")
        return Answer(
            path,
            model=response.model.name,
            version=response.model.version,
            classes=result.classification.classes,
            error=from_status(result.error) if failed else None,
            executions=response.executions,
            failures=response.failures,
            seconds=seconds,
        )

    async def _call(
        self, request: recognition_pb2.RecognizeRequest
    ) -> recognition_pb2.RecognizeResponse:
        for _ in range(OVERLOAD_RETRIES):
            try:
                return await self._call_once(request)
            except OverloadedError as error:
                await asyncio.sleep(error.retry_after_s)
        return await self._call_once(request)

    async def _call_once(
        self, request: recognition_pb2.RecognizeRequest
    ) -> recognition_pb2.RecognizeResponse:
        with domain_errors(self._gateway):
            response: recognition_pb2.RecognizeResponse = await self._stub.Recognize(
                request, timeout=self._question.timeout_s
            )
        return response
