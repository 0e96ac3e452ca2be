"""facet.preprocessing.v1: streams ⇄ `prepare`."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from functools import partial

import numpy as np
import numpy.typing as npt

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError, FacetError, ImageError
from services.common.models.input_spec import InputSpec
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext
from services.common.shared_memory import Attachments
from services.common.statuses import to_status
from services.preprocessing.confinement.watchdog import Watchdog
from services.preprocessing.header import Content
from services.preprocessing.limits import Limits
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
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._threads = threads
        self._watchdog = watchdog
        self._draining = draining

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
        )

    async def _prepare(
        self, attachments: Attachments, request: preprocessing_pb2.PrepareRequest
    ) -> preprocessing_pb2.PrepareResponse:
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
        self._content = content
        self._target = target

    def run(self, spec: InputSpec, limits: Limits) -> None:
        try:
            pixels = prepare(self._content, spec, limits)
        except ImageError as error:
            self.fail(error)
            return
        if self._target is None:
            self.result.pixels = pixels.tobytes()
        else:
            self._target[:] = pixels.reshape(-1)
            self.result.stored = True

    def fail(self, error: FacetError) -> None:
        self.result.error.CopyFrom(to_status(error))
