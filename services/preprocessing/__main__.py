"""The preprocessing service: `python -m services.preprocessing`."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import cv2
from prometheus_client.core import Metric

from facet.preprocessing.v1 import preprocessing_pb2_grpc
from services.common.process import Context, Service, Servicer, run_service
from services.preprocessing.confinement.landlock import confine_decoder
from services.preprocessing.confinement.memory import limit_memory
from services.preprocessing.confinement.watchdog import Watchdog
from services.preprocessing.limits import Limits
from services.preprocessing.servicer import PreprocessingServicer
from services.preprocessing.settings import PreprocessingSettings

NAME: Final = "preprocessing"


class Preprocessing(Service):
    """Stateless."""

    def __init__(self, settings: PreprocessingSettings, context: Context) -> None:
        self._draining = asyncio.Event()
        self._pool = ThreadPoolExecutor(settings.threads, "decoder", confine_decoder)
        self._watchdog = Watchdog(settings.decode_s)
        limits = Limits(settings.max_image_bytes, settings.max_image_pixels)
        servicer = PreprocessingServicer(
            limits,
            self._pool,
            settings.threads,
            self._watchdog,
            self._draining,
            context.trail,
        )
        self._decoded = servicer.decoded
        self.servicers = (
            Servicer(
                "facet.preprocessing.v1.PreprocessingService",
                preprocessing_pb2_grpc.add_PreprocessingServiceServicer_to_server,
                servicer,
            ),
        )

    async def start(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Watch over the decoders."""
        background(self._watchdog.run())

    def metrics(self) -> Iterable[Metric]:
        """Tell what was decoded."""
        return self._decoded.metrics()

    async def drain(self) -> None:
        """Answer what is in hand, then end the streams."""
        self._draining.set()

    async def close(self) -> None:
        """Stop the decoders."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def bounded(settings: PreprocessingSettings, context: Context) -> Preprocessing:
    """Return the service, in a process that may take so much memory and no more."""
    limit_memory(settings.decoder_memory)
    return Preprocessing(settings, context)


def main() -> None:
    """Run the service until SIGTERM."""
    cv2.setNumThreads(1)  # the pool is the parallelism; OpenCV's own would fight it
    run_service(NAME, PreprocessingSettings, bounded)


if __name__ == "__main__":
    main()
