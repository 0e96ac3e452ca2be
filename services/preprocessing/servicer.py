"""facet.preprocessing.v1: streams ⇄ `prepare`."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from functools import partial

import numpy as np
import numpy.typing as npt

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from facet.type.v1 import request_pb2
from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError, FacetError, ImageError
from services.common.models.input_spec import InputSpec
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext
from services.common.shared_memory import Attachments
from services.common.statuses import to_status
from services.common.tracing.trail import SILENT, Trail
from services.preprocessing.account import Account
from services.preprocessing.confinement.watchdog import Watchdog
from services.preprocessing.header import Content
from services.preprocessing.limits import Limits
from services.preprocessing.metrics import OK, Decoded, format_of
from services.preprocessing.prepare import prepare


class PreprocessingServicer(preprocessing_pb2_grpc.PreprocessingServiceServicer):
    """Decodes on a pool of threads; the decoders let go of the interpreter's lock."""

    def __init__(
        self,
        limits: Limits,
        pool: Executor,
        threads: int,
        watchdog: Watchdog,
        draining: asyncio.Event,
        trail: Trail = SILENT,
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._threads = threads
        self._watchdog = watchdog
        self._draining = draining
        self._account = Account(trail)
        self.decoded = Decoded()

    async def Prepare(
        self, requests: AsyncIterator[preprocessing_pb2.PrepareRequest], context: ServicerContext
    ) -> None:
        """Serve one caller."""
        await serve_calls(
            requests,
            context,
            partial(self._prepare, Attachments()),
            preprocessing_pb2.PrepareResponse,
            self._draining,
            _concerned,
        )

    async def _prepare(
        self, attachments: Attachments, request: preprocessing_pb2.PrepareRequest
    ) -> preprocessing_pb2.PrepareResponse:
        began = time.monotonic()
        spec = InputSpec.from_message(request.input)
        deadline = Deadline.after_ms(request.timeout_ms)
        jobs = [_Job(content) for content in request.images]
        if request.HasField("memory"):
            memory = attachments.get(request.memory)
            jobs += [
                _Job(
                    memory.array(image.content_offset, image.content_bytes).data,
                    memory.array(image.pixels_offset, spec.nbytes),
                )
                for image in request.shared_images
            ]
        loop = asyncio.get_running_loop()
        # One task a thread, not one an image: handing over costs as much as a small picture.
        threads = min(self._threads, len(jobs))
        await asyncio.gather(
            *(
                loop.run_in_executor(self._pool, self._run, jobs[first::threads], spec, deadline)
                for first in range(threads)
            )
        )
        self._account.prepared(request, [job.error for job in jobs], began)
        for job in jobs:
            job.count(self.decoded)
        return preprocessing_pb2.PrepareResponse(images=[job.result for job in jobs])

    def _run(self, jobs: list["_Job"], spec: InputSpec, deadline: Deadline) -> None:
        try:
            for job in jobs:
                # Nothing is raised here: the answer must not leave while another thread writes.
                if deadline.expired:
                    job.fail(
                        DeadlineExceededError("the deadline passed before the picture was decoded")
                    )
                else:
                    self._watchdog.begin()
                    job.run(spec, self._limits)
        finally:
            self._watchdog.done()


class _Job:
    """One picture; its pixels go to `target` where there is one."""

    def __init__(self, content: Content, target: npt.NDArray[np.uint8] | None = None) -> None:
        self.result = preprocessing_pb2.PreparedImage()
        self.error: FacetError | None = None
        self._content = content
        self._target = target
        self._outcome = OK
        self._seconds = 0.0

    def run(self, spec: InputSpec, limits: Limits) -> None:
        since = time.perf_counter()
        try:
            pixels = prepare(self._content, spec, limits)
        except ImageError as error:
            self.fail(error)
        else:
            self._store(pixels)
        self._seconds = time.perf_counter() - since

    def count(self, decoded: Decoded) -> None:
        form = format_of(self._content)
        decoded.add(form, self._outcome, len(self._content), self._seconds)

    def _store(self, pixels: npt.NDArray[np.uint8]) -> None:
        if self._target is None:
            self.result.pixels = pixels.tobytes()
        else:
            self._target[:] = pixels.reshape(-1)
            self.result.stored = True

    def fail(self, error: FacetError) -> None:
        self.error = error
        self._outcome = error.reason
        self.result.error.CopyFrom(to_status(error))


def _concerned(
    request: preprocessing_pb2.PrepareRequest,
) -> Iterator[request_pb2.RequestContext]:
    return (theirs.context for theirs in request.requests)
