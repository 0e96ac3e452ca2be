"""The reference with one door and no services: one process answers Recognize by itself.

It is what a careful single program would be: grpc.aio on uvloop, pictures decoded where they
arrive, what waits run as one batch by whichever engine is free. Facet's own functions decode, run
and name the classes, so that what is left of the difference is the price of several services.
Only for small pictures: decoding holds up the event loop.
"""

import asyncio
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import grpc
import numpy as np
import numpy.typing as npt
import uvloop

from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from services.aggregation.combine import classify
from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from services.common.rpc.context import ServicerContext
from services.inference.engines.interface import Engine
from services.inference.engines.loading import load_version
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare

MAX_BATCH: Final = 32
TOP_K: Final = 5

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Waiting = tuple[Pixels, asyncio.Future[Scores]]


class Monolith(recognition_pb2_grpc.RecognitionServiceServicer):
    """Answers with one model."""

    def __init__(self, engines: list[Engine], manifest: Manifest) -> None:
        self._free = deque(engines)
        self._spec = manifest.input
        self._labels = manifest.labels
        self._limits = Limits()
        self._pool = ThreadPoolExecutor(len(engines), "device")
        self._waiting: deque[Waiting] = deque()
        self._batches: set[asyncio.Task[None]] = set()

    async def Recognize(
        self, request: recognition_pb2.RecognizeRequest, context: ServicerContext
    ) -> recognition_pb2.RecognizeResponse:
        """Decode, infer, name the best classes."""
        answer: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._pixels(request), answer))
        self._dispatch()
        scores = await answer
        response = recognition_pb2.RecognizeResponse()
        rows = (response.results.add().classification for _ in scores)
        classify(scores, self._labels, TOP_K, rows)
        return response

    def _pixels(self, request: recognition_pb2.RecognizeRequest) -> Pixels:
        if request.HasField("tensor"):
            return np.frombuffer(request.tensor.data, np.uint8).reshape(-1, *self._spec.shape)
        return np.stack(
            [prepare(image.content, self._spec, self._limits) for image in request.images]
        )

    def _dispatch(self) -> None:
        while self._waiting and self._free:
            batch = [self._waiting.popleft()]
            images = len(batch[0][0])
            while self._waiting and images + len(self._waiting[0][0]) <= MAX_BATCH:
                batch.append(self._waiting.popleft())
                images += len(batch[-1][0])
            task = asyncio.create_task(self._run(self._free.popleft(), batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    async def _run(self, engine: Engine, batch: list[Waiting]) -> None:
        pixels = np.concatenate([each for each, _ in batch])
        scores = await asyncio.get_running_loop().run_in_executor(self._pool, engine.run, pixels)
        self._free.append(engine)
        self._dispatch()
        first = 0
        for each, answer in batch:
            answer.set_result(scores[first : first + len(each)])
            first += len(each)


@contextmanager
def monolith(models: Path, model: str, threads: int) -> Iterator[tuple[str, int]]:
    """Run it as a process, with so many engines of one thread; yields host:port and its pid."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(models, model, threads, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert process.pid is not None
        yield ours.recv(), process.pid
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _main(models: Path, model: str, threads: int, connection: Connection) -> None:
    repository = ModelRepository(models)
    version = repository.latest(model)
    loaded = [
        load_version(repository, model, version, batch_sizes=[1, 2, 4, 8, 16, 32])
        for _ in range(threads)
    ]
    servicer = Monolith([each.engine for each in loaded], loaded[0].manifest)
    uvloop.run(_serve(servicer, connection))


async def _serve(servicer: Monolith, connection: Connection) -> None:
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", -1),))
    recognition_pb2_grpc.add_RecognitionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection.send(f"127.0.0.1:{port}")
    ended = asyncio.Event()
    # The other end is closed when the benchmark is over, or dies.
    asyncio.get_running_loop().add_reader(connection.fileno(), ended.set)
    await ended.wait()
    await server.stop(0)
