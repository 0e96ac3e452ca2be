"""The training worker: `facet train-worker`."""

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric
from pydantic import Field

from facet.training.v1 import training_pb2_grpc
from services.common.process import Context, Service, Servicer, run_service
from services.common.settings import ServiceSettings
from services.training.distributed.servicer import TrainingWorkerServicer

NAME: Final = "training-worker"


class TrainingWorkerSettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    training_threads: int = Field(default=0, ge=0)
    """CPU threads of a member; 0: as many as TensorFlow likes, which is one a core."""


class TrainingWorker(Service):
    """Waits for trainings to take part in; it loads TensorFlow in the members' processes alone."""

    def __init__(self, settings: TrainingWorkerSettings, context: Context) -> None:
        self._servicer = TrainingWorkerServicer(context.instance.host, settings.training_threads)
        self.servicers = (
            Servicer(
                "facet.training.v1.TrainingWorkerService",
                training_pb2_grpc.add_TrainingWorkerServiceServicer_to_server,
                self._servicer,
            ),
        )

    def metrics(self) -> Iterable[Metric]:
        """Tell where the training is."""
        return self._servicer.metrics()

    async def drain(self) -> None:
        """The training goes on without this worker, from its last checkpoint."""
        self._servicer.drain()


def main() -> None:
    """Run the service until SIGTERM."""
    run_service(NAME, TrainingWorkerSettings, TrainingWorker)


if __name__ == "__main__":
    main()
