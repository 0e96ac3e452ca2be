"""facet.preprocessing.v1: streams ⇄ `prepare`."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from services.common.deadline import Deadline
from services.common.errors import ImageError
from services.common.models.input_spec import InputSpec
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext
from services.common.statuses import to_status
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare


class PreprocessingServicer(preprocessing_pb2_grpc.PreprocessingServiceServicer):
    """Decodes on a pool of threads; the decoders let go of the interpreter's lock."""

    def __init__(
        self, limits: Limits, pool: Executor, threads: int, draining: asyncio.Event
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._threads = threads
        self._draining = draining

    async def Prepare(
        self, requests: AsyncIterator[preprocessing_pb2.PrepareRequest], context: ServicerContext
    ) -> None:
        """Serve one caller."""
        await serve_calls(
            requests, context, self._prepare, preprocessing_pb2.PrepareResponse, self._draining
        )

    async def _prepare(
        self, request: preprocessing_pb2.PrepareRequest
    ) -> preprocessing_pb2.PrepareResponse:
        spec = InputSpec.from_message(request.input)
        deadline = Deadline.after_ms(request.timeout_ms)
        contents = list(request.images)
        loop = asyncio.get_running_loop()
        # One task a thread, not one an image: handing over costs as much as a small picture.
        threads = self._threads
        shares = await asyncio.gather(
            *(
                loop.run_in_executor(
                    self._pool, self._prepare_share, contents[first::threads], spec, deadline
                )
                for first in range(min(threads, len(contents)))
            )
        )
        images = [shares[place % threads][place // threads] for place in range(len(contents))]
        return preprocessing_pb2.PrepareResponse(images=images)

    def _prepare_share(
        self, contents: list[bytes], spec: InputSpec, deadline: Deadline
    ) -> list[preprocessing_pb2.PreparedImage]:
        prepared = []
        for content in contents:
            deadline.check("the picture was decoded")
            prepared.append(self._prepare_one(content, spec))
        return prepared

    def _prepare_one(self, content: bytes, spec: InputSpec) -> preprocessing_pb2.PreparedImage:
        try:
            pixels = prepare(content, spec, self._limits)
        except ImageError as error:
            return preprocessing_pb2.PreparedImage(error=to_status(error))
        return preprocessing_pb2.PreparedImage(pixels=pixels.tobytes())
