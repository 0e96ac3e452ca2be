"""Which identity may call what, inside a cluster whose links are mutual TLS.

What the table does not name, nobody may call. The gateway's public port is not asked here: whom
it serves is for its keys and tokens to say.
"""

from collections.abc import Mapping
from typing import Final

import grpc
import structlog

from services.common.http2.interceptor import Interceptor
from services.common.http2.server_call import ServerCall
from services.common.http2.status import AbortedError
from services.common.security.identity import OPERATOR, SERVICES, spiffe_id

log = structlog.get_logger(__name__)

_EVERYBODY: Final = (*SERVICES, OPERATOR)

TABLE: Final[Mapping[str, tuple[str, ...]]] = {
    "facet.preprocessing.v1.PreprocessingService": ("gateway",),
    "facet.scheduler.v1.SchedulerService/Dispatch": ("gateway",),
    "facet.scheduler.v1.SchedulerService/Pull": ("inference",),
    "facet.inference.v1.InferenceService": ("gateway",),
    "facet.inference.v1.InferenceService/WatchBatches": ("gateway", OPERATOR),
    "facet.aggregation.v1.AggregationService": ("gateway",),
    "facet.training.v1.TrainingWorkerService": ("training", OPERATOR),
    "facet.cluster.v1.ClusterService": _EVERYBODY,
    "facet.recognition.v1.RecognitionService": _EVERYBODY,
    "grpc.health.v1.Health": _EVERYBODY,
    "grpc.reflection.v1alpha.ServerReflection": _EVERYBODY,
}
"""A gRPC service, or one method of it → who may call it. A person may start a training, and thus
reserves its workers; and look at the batches of a shard, which tell times and sizes alone."""


class Authorisation(Interceptor):
    """Refuses calls of those who have no business with the method."""

    def __init__(self, trust_domain: str) -> None:
        self._allowed = {
            name: frozenset(spiffe_id(trust_domain, caller) for caller in callers)
            for name, callers in TABLE.items()
        }
        self._decided: dict[str, frozenset[str]] = {}
        """Path of a method → who may call it; the server knows the method."""

    def admit(self, call: ServerCall) -> None:
        """Raise PERMISSION_DENIED for a caller whom the table does not name."""
        path = call.path
        allowed = self._decided.get(path)
        if allowed is None:
            allowed = self._decided[path] = self._look_up(path)
        if call.peer in allowed:
            return
        caller = call.peer or "a caller without an identity"
        log.warning("a call was refused", caller=caller, method=path)
        raise AbortedError(
            grpc.StatusCode.PERMISSION_DENIED,
            f"{caller} may not call {path}; its certificate must be that of "
            f"{' or '.join(sorted(allowed)) or 'nobody'}",
            (),
        )

    def _look_up(self, path: str) -> frozenset[str]:
        name = path[1:]
        service = name.rpartition("/")[0]
        return self._allowed.get(name) or self._allowed.get(service) or frozenset()
