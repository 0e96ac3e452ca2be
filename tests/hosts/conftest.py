"""One cluster on hosts of its own for all tests of their network, and a load that goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.hosts.cluster import HostCluster, host_cluster
from benchmarks.hosts.network import missing
from facet.recognition.v1 import recognition_pb2
from services.common.models.repository import ModelRepository
from tests.cluster.load import kept_connections
from tests.conftest import need
from tests.hosts.witness import Witness, steady_load

PHOTOGRAPHS = 4
DEADLINE_S = 30.0
"""What a request without a deadline gets: inside it every one must be answered."""


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip, or fail where FACET_REQUIRE names namespaces, where hosts cannot be made."""
    if lack := missing():
        need("namespaces", lack)


@pytest.fixture(scope="module")
def hosts(
    namespaces: None, consul_binary: Path, photo_repository: ModelRepository
) -> Iterator[HostCluster]:
    """A cluster on three hosts, and Consul's server on a fourth."""
    with host_cluster(consul_binary, Path(photo_repository.root)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def photographs(test_data: Path) -> recognition_pb2.RecognizeRequest:
    """A request with real photographs, whose pixels are much to carry: 150 KB each."""
    files = sorted((test_data / "images" / "imagenet_train_sample").glob("*.JPEG"))[:PHOTOGRAPHS]
    return recognition_pb2.RecognizeRequest(
        model=recognition_pb2.ModelSelector(name="mobilenet"),
        images=[recognition_pb2.Image(content=file.read_bytes()) for file in files],
        options=recognition_pb2.RecognitionOptions(explain=True),
    )


@pytest.fixture
def load(hosts: HostCluster, photographs: recognition_pb2.RecognizeRequest) -> Iterator[Witness]:
    """Callers that keep asking a whole cluster; at the end all were answered, and rightly.

    They try again on UNAVAILABLE alone, as clients are told to.
    """
    hosts.wait_whole()
    with kept_connections(hosts.gateway, retries=True, timeout=DEADLINE_S) as ask:
        with steady_load(ask, photographs) as witness:
            yield witness
        hosts.wait_whole()
