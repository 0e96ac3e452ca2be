"""The aggregation service: `python -m services.aggregation`."""

import asyncio
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric

from facet.aggregation.v1 import aggregation_pb2_grpc
from services.aggregation.servicer import AggregationServicer
from services.common.process import Context, Service, Servicer, run_service
from services.common.settings import ServiceSettings

NAME: Final = "aggregation"


class Aggregation(Service):
    """Stateless but for the descriptors that it keeps."""

    def __init__(self, settings: ServiceSettings, context: Context) -> None:
        self._draining = asyncio.Event()
        servicer = AggregationServicer(self._draining, context.trail)
        self._combined = servicer.combined
        self.servicers = (
            Servicer(
                "facet.aggregation.v1.AggregationService",
                aggregation_pb2_grpc.add_AggregationServiceServicer_to_server,
                servicer,
            ),
        )

    def metrics(self) -> Iterable[Metric]:
        """Tell what was combined."""
        return self._combined.metrics()

    async def drain(self) -> None:
        """Answer what is in hand, then end the streams."""
        self._draining.set()


def main() -> None:
    """Run the service until SIGTERM."""
    run_service(NAME, ServiceSettings, Aggregation)


if __name__ == "__main__":
    main()
