"""Images built of the real Dockerfiles, and an engine to run them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ROOT, need
from tests.containers.dockerd import Docker, running_docker
from tests.containers.engine import Engine, running_engine
from tests.containers.supplies import (
    BUILD_PACKAGES,
    PACKAGES,
    base_archive,
    build_options,
    cache_folder,
    facet_version,
)

TOOLS: Final = ("podman", "runc", "mmdebstrap", "iptables", "nsenter", "ip", "make")
DOCKER_TOOLS: Final = ("dockerd", "docker", "docker-compose", "setpriv")
BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
BASES: Final = {BASE: PACKAGES, "docker.io/library/python:3.11-bookworm": BUILD_PACKAGES}
IMAGES: Final = (
    *("gateway", "scheduler", "preprocessing", "aggregation", "inference"),
    "training",
)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Podman, with the base image; skips, or fails where FACET_REQUIRE names containers."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        need("containers", f"there is no {', '.join(missing)}")
    if os.geteuid() != 0:
        need("containers", "they are run as root, to look into them from outside")
    folder = tmp_path_factory.mktemp("containers")
    with running_engine(cache_folder() / "storage", folder) as running:
        for base, packages in BASES.items():
            _import(running, base, base_archive(packages))
        yield running


def _import(engine: Engine, base: str, archive: Path) -> None:
    """Make a base of an archive, unless the storage has that from an earlier run."""
    label = f"org.facet.archive={archive.stem}"
    found = engine("images", "--quiet", f"--filter=reference={base}", f"--filter=label={label}")
    if not found.stdout.strip():
        engine("import", f"--change=LABEL {label}", str(archive), base)


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Service → the name of its image; built by `make images`."""
    options = " ".join(build_options(tmp_path_factory.mktemp("build")))
    done = subprocess.run(
        [
            *("make", "--no-print-directory", "images", f"IMAGES={' '.join(IMAGES)}"),
            *(f"CONTAINER_ENGINE={' '.join(engine.podman)}", f"IMAGE_OPTIONS={options}"),
        ],
        cwd=ROOT,
        env=engine.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in IMAGES:
        assert f"facet-{name}" in done.stdout, done.stdout[-2000:]
    return {name: f"localhost/facet-{name}:{facet_version()}" for name in IMAGES}


@pytest.fixture(scope="session")
def consul_image(engine: Engine, consul_binary: Path) -> str:
    """An image of the real Consul, which is started as hashicorp/consul is."""
    folder = cache_folder() / "consul-image"
    folder.mkdir(exist_ok=True)
    shutil.copy(consul_binary, folder / "consul")
    shutil.copy(Path(__file__).with_name("consul-entrypoint.sh"), folder / "docker-entrypoint.sh")
    (folder / "Containerfile").write_text(
        f"FROM {BASE}\n"
        "COPY consul docker-entrypoint.sh /usr/local/bin/\n"
        "RUN install --directory --owner=100 --group=1000 /consul/data /consul/config\n"
        'USER 100:1000\nVOLUME /consul/data\nENTRYPOINT ["docker-entrypoint.sh"]\n'
    )
    options = ("--quiet", "--network=none", "--format=docker")
    engine("build", *options, "--tag", "localhost/consul", str(folder))
    return "localhost/consul"


@pytest.fixture(scope="session")
def docker(
    engine: Engine,
    images: dict[str, str],
    consul_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Docker]:
    """A dockerd that has the images by the names which compose.yaml gives them."""
    if missing := [tool for tool in DOCKER_TOOLS if shutil.which(tool) is None]:
        need("containers", f"there is no {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("docker")
    with running_docker(cache_folder() / "docker", folder) as running:
        names = {f"facet-{name}:{facet_version()}": image for name, image in images.items()}
        running.take(engine, names | {"hashicorp/consul:1.19": consul_image}, folder)
        yield running
