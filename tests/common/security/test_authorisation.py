"""Who may call what: every cell of the table, against a real server."""

from pathlib import Path

import grpc
import pytest

import services.common.security.authorisation as module
from facet.aggregation.v1 import aggregation_pb2
from facet.inference.v1 import inference_pb2
from facet.preprocessing.v1 import preprocessing_pb2
from facet.scheduler.v1 import scheduler_pb2
from facet.training.v1 import training_pb2
from services.common.http2.channel import Channel
from services.common.http2.server import Server
from services.common.security.authority import issue, make_authority
from services.common.security.identity import OPERATOR, SERVICES
from tests.common.http2.test_calls import failure
from tests.common.security.conftest import credentials

pytestmark = pytest.mark.usefixtures("no_task_left")

EVERYBODY = {*SERVICES, OPERATOR}
MAY = {
    "facet.preprocessing.v1.PreprocessingService": {"gateway"},
    "facet.scheduler.v1.SchedulerService/Dispatch": {"gateway"},
    "facet.scheduler.v1.SchedulerService/Pull": {"inference"},
    "facet.inference.v1.InferenceService": {"gateway"},
    "facet.inference.v1.InferenceService/WatchBatches": {"gateway", OPERATOR},
    "facet.aggregation.v1.AggregationService": {"gateway"},
    "facet.training.v1.TrainingWorkerService": {"training", OPERATOR},
    "grpc.health.v1.Health": EVERYBODY,
    "grpc.reflection.v1alpha.ServerReflection": EVERYBODY,
    "facet.test.Unknown": set[str](),
}
"""Written down once more: whoever changes the table is to think twice."""
FILES = (aggregation_pb2, inference_pb2, preprocessing_pb2, scheduler_pb2, training_pb2)


def methods() -> list[str]:
    """Every method of every service inside the cluster, and some others."""
    own = [
        f"{service.full_name}/{method.name}"
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    return [
        *own,
        "grpc.health.v1.Health/Check",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "facet.test.Unknown/Do",
    ]


async def _answer(request: bytes, context: object) -> bytes:
    return b"served"


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("everybody")
    make_authority(folder, "facet")
    for name in EVERYBODY:
        issue(folder, name, "facet")
    return folder


async def test_every_identity_may_call_what_the_table_says_and_no_more(everybody: Path) -> None:
    server = Server(tls=credentials(everybody, "scheduler").server_context)
    server.guard((module.Authorisation("facet"),))
    for method in methods():
        service, _, name = method.partition("/")
        handler = grpc.unary_unary_rpc_method_handler(_answer, bytes, bytes)
        server.add_registered_method_handlers(service, {name: handler})
    port = server.listen("127.0.0.1", 0)
    await server.start()
    try:
        for caller in sorted(EVERYBODY):
            tls = credentials(everybody, caller).to("spiffe://facet/scheduler")
            async with Channel(f"127.0.0.1:{port}", tls) as channel:
                await _try_all(channel, caller)
    finally:
        await server.stop(0)


async def _try_all(channel: Channel, caller: str) -> None:
    for method in methods():
        allowed = MAY.get(method) or MAY[method.partition("/")[0]]
        call = channel.unary_unary(f"/{method}", bytes, bytes)(b"")
        if caller in allowed:
            assert await call == b"served", (caller, method)
        else:
            error = await failure(call)
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, (caller, method)
            assert str(error.details()).startswith(
                f"spiffe://facet/{caller} may not call /{method}"
            )


def test_the_table_names_nothing_that_is_not_there() -> None:
    known = {*methods(), *(method.partition("/")[0] for method in methods())}
    public = {"facet.cluster.v1.ClusterService", "facet.recognition.v1.RecognitionService"}
    assert set(module.TABLE) <= known | public
