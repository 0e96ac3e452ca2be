"""The preprocessing service: `python -m services.preprocessing`."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import cv2
from prometheus_client.core import Metric

from facet.preprocessing.v1 import preprocessing_pb2_grpc
from services.common.process import Context, Service, Servicer, run_service
from services.preprocessing.limits import Limits
from services.preprocessing.servicer import PreprocessingServicer
from services.preprocessing.settings import PreprocessingSettings

NAME: Final = "preprocessing"


class Preprocessing(Service):
    """Stateless."""

    def __init__(self, settings: PreprocessingSettings, context: Context) -> None:
        self._draining = asyncio.Event()
        self._pool = ThreadPoolExecutor(settings.threads, "decoder")
        limits = Limits(settings.max_image_bytes, settings.max_image_pixels)
        servicer = PreprocessingServicer(
            limits, self._pool, settings.threads, self._draining, context.trail
        )
        self._decoded = servicer.decoded
        self.servicers = (
            Servicer(
                "facet.preprocessing.v1.PreprocessingService",
                preprocessing_pb2_grpc.add_PreprocessingServiceServicer_to_server,
                servicer,
            ),
        )

    def metrics(self) -> Iterable[Metric]:
        """Tell what was decoded."""
        return self._decoded.metrics()

    async def drain(self) -> None:
        """Answer what is in hand, then end the streams."""
        self._draining.set()

    async def close(self) -> None:
        """Stop the decoders."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Run the service until SIGTERM."""
    cv2.setNumThreads(1)  # the pool is the parallelism; OpenCV's own would fight it
    run_service(NAME, PreprocessingSettings, Preprocessing)


if __name__ == "__main__":
    main()
