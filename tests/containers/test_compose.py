"""docker/compose.yaml by the real dockerd: what docs/containers.md tells people to do, done."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from facet.launcher.plan import MODULES
from services.training.data.digits import load_digits_dataset
from tests.containers.dockerd import HEALTHY_S, Docker, Project
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.timeout(1800)

FACET = Path(sys.executable).with_name("facet")
LONG_RUNNING = ("consul", *MODULES)
USER = "65532"
KEY = "facet-tests/kept"
"""In Consul, written before it dies."""
WITHOUT_PLAIN_TEXT = 'services: {gateway: {environment: {FACET_PUBLIC_INSECURE: "false"}}}'


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A held-out digit as a file, and what it is."""
    digits = load_digits_dataset()
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(digits.test_images[0][..., 0]).save(path)
    return str(path), str(digits.test_labels[0])


@pytest.fixture(scope="module")
def plain(docker: Docker) -> Iterator[Project]:
    """The cluster as compose.yaml has it, of three shards; each test leaves it whole."""
    project = Project(docker, "compose.yaml")
    project.up("--scale", "inference=3")
    project.wait_healthy(LONG_RUNNING)
    yield project
    project("down", "--volumes")


@pytest.fixture(scope="module")
def encrypted(plain: Project) -> Project:
    """The same with TLS, on the volumes that the plain one leaves behind."""
    _kv(plain, "put", KEY, "before down")
    plain("down")
    project = Project(plain.docker, "compose.yaml", "compose.tls.yaml")
    project.up()
    project.wait_healthy(LONG_RUNNING)
    return project


def test_a_picture_is_classified_from_the_host(plain: Project, digit: tuple[str, str]) -> None:
    _classify(plain, digit)


def test_as_many_shards_serve_as_were_asked_for(plain: Project) -> None:
    assert _serving(plain) == sorted((*MODULES, "inference", "inference"))


def test_the_first_model_was_trained_in_a_container(plain: Project) -> None:
    (trainer,) = plain.containers("models")
    state = plain.docker.inspect(trainer)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert "digits:1" in plain("logs", "models").stdout


def test_nobody_is_root_and_nothing_can_be_written(plain: Project) -> None:
    for service in MODULES:
        for name in plain.containers(service):
            processes = plain.docker.processes(name)
            assert processes
            for process in processes:
                assert process["Uid"].split() == [USER] * 4, service
                assert int(process["CapEff"], 16) == 0, service
                assert process["NoNewPrivs"] == "1", service
            for path in ("/written", "/opt/facet/written", "/models/written"):
                touched = plain.docker("exec", name, "touch", path, check=False)
                assert touched.returncode != 0, f"{service} could write {path}"


def test_consul_comes_back_with_what_it_knew(plain: Project, digit: tuple[str, str]) -> None:
    _kv(plain, "put", KEY, "before its death")
    (consul,) = plain.containers("consul")
    pid = plain.docker.inspect(consul)["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + HEALTHY_S
    while plain.docker.inspect(consul)["State"]["Pid"] in (0, pid):
        assert time.monotonic() < deadline, "it is not started again"
        time.sleep(0.1)
    plain.wait_healthy(["consul"])
    assert _kv(plain, "get", KEY) == "before its death"
    _wait_whole(plain)
    _classify(plain, digit)


def test_shards_come_and_go_while_the_rest_stays(plain: Project) -> None:
    before = plain.containers("gateway")
    plain.up("--no-recreate", "--scale", "inference=2")
    _wait_whole(plain)
    assert _serving(plain).count("inference") == 2
    assert plain.containers("gateway") == before


def test_volumes_outlive_the_containers(encrypted: Project) -> None:
    assert _kv(encrypted, "get", KEY) == "before down"
    (trainer,) = encrypted.containers("models")
    assert encrypted.docker("logs", trainer).stdout == "/models/digits/1\n", "it trained again"


def test_with_tls_a_picture_is_classified(encrypted: Project, digit: tuple[str, str]) -> None:
    _classify(encrypted, digit)
    assert _serving(encrypted) == sorted((*MODULES, "inference"))


def test_with_tls_links_take_no_plain_text(encrypted: Project) -> None:
    for service in MODULES:
        (name, *_) = encrypted.containers(service)
        (network,) = encrypted.docker.inspect(name)["NetworkSettings"]["Networks"].values()
        asked = encrypted.docker.run(FACET, "health", f"{network['IPAddress']}:50052")
        assert asked.returncode == 0, "its health can be asked for"
        asked = encrypted.docker.run(FACET, "health", f"{network['IPAddress']}:50051", check=False)
        expected = 0 if service == "gateway" else 1  # that one is published in plain text
        assert asked.returncode == expected, f"{service}: {asked.stderr}"


def test_the_gateway_can_be_published_with_tls(
    encrypted: Project, digit: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "public.yaml").write_text(WITHOUT_PLAIN_TEXT)
    project = Project(
        encrypted.docker, "compose.yaml", "compose.tls.yaml", str(tmp_path / "public.yaml")
    )
    project.up()
    project.wait_healthy(["gateway"])
    (gateway,) = project.containers("gateway")
    project.docker("cp", f"{gateway}:/certs/ca.pem", str(tmp_path))
    _classify(project, digit, "--tls-ca", str(tmp_path / "ca.pem"))
    refused = project.docker.run(FACET, "classify", digit[0], check=False)
    assert refused.returncode != 0, "it is still in plain text"


def _classify(project: Project, digit: tuple[str, str], *options: str) -> None:
    """Do on the host what the documentation says, and see that the answer is right."""
    picture, label = digit
    project.docker.run(FACET, "wait", *options)
    done = project.docker.run(FACET, "classify", picture, "--json", *options)
    assert json.loads(done.stdout)["classes"][0]["label"] == label, done.stdout


def _serving(project: Project) -> list[str]:
    """The services that `facet status` shows on the host, one entry for each instance."""
    told = json.loads(project.docker.run(FACET, "status", "--json").stdout)
    return sorted(instance["service"] for instance in told["instances"])


def _wait_whole(project: Project) -> None:
    """Wait until `facet status` shows an instance for each container, and no other."""
    expected = sorted(kind for kind in MODULES for _ in project.containers(kind))
    deadline = time.monotonic() + PATIENCE_S
    while (found := _serving(project)) != expected:
        assert time.monotonic() < deadline, found


def _kv(project: Project, *arguments: str) -> str:
    """Run a `consul kv` command in Consul's container."""
    return project("exec", "-T", "consul", "consul", "kv", *arguments).stdout.strip()
