"""A cluster of containers on a real Consul, seen and used from outside of their host."""

import asyncio
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from PIL import Image

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.models.repository import ModelRepository
from services.common.registry import open_registry
from services.common.shared_memory import MEMORY_KEY
from services.training.data.digits import load_digits_dataset
from tests.cluster.commands import facet
from tests.cluster.load import Ask, load
from tests.cluster.running import RunningCluster
from tests.containers.engine import DOOR, NETWORK, Engine

pytestmark = pytest.mark.timeout(1800)

CONSUL = "10.89.77.10"
USER = "65532"
KINDS = ("scheduler", "preprocessing", "aggregation", "inference", "inference", "gateway")
PICTURES = 3


class ContainerCluster(RunningCluster):
    """A cluster whose processes are containers."""

    def __init__(self, engine: Engine, images: dict[str, str], models: Path) -> None:
        super().__init__(ClusterPlan(home=models))
        self.gateway = f"{DOOR}:50051"
        self.names: dict[str, list[str]] = {}
        self._engine = engine
        self._images = images
        self._models = models

    def start(self, kind: str) -> None:
        """Start one more container of a kind."""
        options = [
            f"--env=FACET_REGISTRY=consul://{CONSUL}:8500",
            "--env=FACET_MODELS=/models",
            "--env=FACET_INSECURE=true",
            "--memory=1g",
        ]
        if kind == "inference":
            options.append(f"--volume={self._models}:/models:ro")
        if kind == "gateway":
            options.append("--publish=50051:50051")
        name = self._engine.start(self._images[kind], options=options)
        self.names.setdefault(kind, []).append(name)

    def complete(self) -> cluster_pb2.Cluster:
        """Wait until there is one serving instance for each container, and nothing is missing."""
        expected = sorted(kind for kind, names in self.names.items() for _ in names)

        def holds(view: cluster_pb2.Cluster) -> bool:
            up = sorted(
                instance.service
                for instance in view.instances
                if instance.state != cluster_pb2.INSTANCE_STATE_UNREACHABLE
            )
            return not view.missing and up == expected

        return self.wait_for_view(holds)

    def all_names(self) -> list[str]:
        """The names of all containers."""
        return [name for names in self.names.values() for name in names]


@pytest.fixture(scope="module")
def containers(
    engine: Engine,
    images: dict[str, str],
    consul_image: str,
    digits_repository: ModelRepository,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ContainerCluster]:
    """One cluster for all tests of the module, each of which leaves it whole."""
    models = tmp_path_factory.mktemp("models") / "repository"
    shutil.copytree(digits_repository.root, models)
    for path in (models, *models.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    consul = ("agent", "-dev", "-client=0.0.0.0", f"-bind={CONSUL}", "-log-level=warn")
    engine(
        *("run", "--detach", "--name=consul", f"--network={NETWORK}:ip={CONSUL}"),
        *(consul_image, *consul, "-disable-host-node-id"),
    )
    cluster = ContainerCluster(engine, images, models)
    for kind in KINDS:
        cluster.start(kind)
    grpc.channel_ready_future(cluster.channel).result(timeout=120)
    cluster.complete()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Held-out digits as files; their names end in what they are."""
    folder, digits = tmp_path_factory.mktemp("pictures"), load_digits_dataset()
    paths = [folder / f"{n}-{digits.test_labels[n]}.png" for n in range(PICTURES)]
    for number, path in enumerate(paths):
        file = io.BytesIO()
        Image.fromarray(digits.test_images[number][..., 0]).save(file, "PNG")
        path.write_bytes(file.getvalue())
    return paths


def patient(cluster: ContainerCluster) -> Ask:
    """Ask again on UNAVAILABLE, once there is somebody to ask."""

    def ask(request: recognition_pb2.RecognizeRequest) -> recognition_pb2.RecognizeResponse:
        for _ in range(10):
            try:
                response: recognition_pb2.RecognizeResponse = cluster.recognition.Recognize(
                    request, timeout=90, wait_for_ready=True
                )
                return response
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                last = error
        raise last

    return ask


def test_pictures_are_classified_from_outside(
    containers: ContainerCluster, pictures: list[Path]
) -> None:
    done = facet("classify", *map(str, pictures), "--json", "--gateway", containers.gateway)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == PICTURES


def test_nobody_is_root_and_nothing_is_left_unburied(
    engine: Engine, containers: ContainerCluster
) -> None:
    for name in containers.all_names():
        processes = engine.processes(name)
        assert processes
        for process in processes:
            assert process["Uid"].split() == [USER] * 4, name
            assert process["Gid"].split() == [USER] * 4, name
            assert int(process["CapEff"], 16) == 0, name
            assert process["NoNewPrivs"] == "1", name
            assert not process["State"].startswith("Z"), name


def test_the_root_file_system_is_read_only(engine: Engine, containers: ContainerCluster) -> None:
    for name in containers.all_names():
        for path in ("/written", "/opt/facet/written", "/var/lib/facet/written"):
            done = engine("exec", name, "touch", path, check=False)
            assert done.returncode != 0, f"{name} could write {path}"
            assert "Read-only" in done.stderr or "Permission" in done.stderr, done.stderr


def test_their_health_checks_pass(engine: Engine, containers: ContainerCluster) -> None:
    for name in containers.all_names():
        assert engine("healthcheck", "run", name, check=False).returncode == 0, name


def test_containers_of_one_host_do_not_share_memory(containers: ContainerCluster) -> None:
    async def memories() -> list[str]:
        registry = open_registry(f"consul://{CONSUL}:8500")
        try:
            return [
                instance.meta[MEMORY_KEY]
                for kind in containers.names
                for instance in await registry.instances(kind)
            ]
        finally:
            await registry.close()

    found = asyncio.run(memories())
    assert len(found) == len(KINDS)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS))
def test_nothing_is_lost_when_one_is_killed_and_replaced(
    engine: Engine, containers: ContainerCluster, pictures: list[Path], kind: str
) -> None:
    images = [recognition_pb2.Image(content=path.read_bytes()) for path in pictures]
    request = recognition_pb2.RecognizeRequest(
        model=recognition_pb2.ModelSelector(name="digits"), images=images
    )
    answer = patient(containers)(request)
    expected = [result.classification.classes[0].label for result in answer.results]
    with load(containers, request, expected, ask=patient(containers), callers=2) as running:
        running.wait_for(5)
        engine.kill(containers.names[kind].pop(0))
        containers.start(kind)
        running.wait_for(5)
    if kind == "gateway":
        grpc.channel_ready_future(containers.channel).result(timeout=120)
    containers.complete()


def test_they_drain_and_end_in_order(engine: Engine, containers: ContainerCluster) -> None:
    for kind in dict.fromkeys(reversed(KINDS)):
        assert engine.stop(containers.names[kind][0]) == 0, kind
