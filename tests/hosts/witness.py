"""A load whose answers tell where they came from."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from facet.recognition.v1 import recognition_pb2
from tests.cluster.load import Ask, Load, keep_asking

PATIENCE_S = 60.0


class Witness:
    """Asks, and remembers which shards answered."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._shards: set[str] = set()
        self._changed = threading.Condition()
        self.load: Load

    def __call__(
        self, request: recognition_pb2.RecognizeRequest
    ) -> recognition_pb2.RecognizeResponse:
        """Ask once."""
        response = self._ask(request)
        with self._changed:
            self._shards |= {execution.shard for execution in response.executions}
            self._changed.notify_all()
        return response

    def wait_for(self, answers: int) -> None:
        """Wait until so many more requests have been answered."""
        self.load.wait_for(answers)

    def wait_for_shards_of(self, *hosts: str) -> None:
        """Wait until shards of all these hosts have answered from now on."""

        def answered() -> bool:
            return all(any(f"-{host}-" in shard for shard in self._shards) for host in hosts)

        with self._changed:
            self._shards.clear()
            assert self._changed.wait_for(answered, PATIENCE_S), f"only {self._shards} answered"


@contextmanager
def steady_load(ask: Ask, request: recognition_pb2.RecognizeRequest) -> Iterator[Witness]:
    """Keep asking what is answered now; see `keep_asking`."""
    witness = Witness(ask)
    expected = [result.classification.classes[0].label for result in witness(request).results]
    with keep_asking(witness, request, expected) as witness.load:
        yield witness
