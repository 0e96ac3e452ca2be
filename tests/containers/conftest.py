"""Images built of the real Dockerfiles, and an engine to run them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ROOT, need
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
BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
BASES: Final = {BASE: PACKAGES, "docker.io/library/python:3.11-bookworm": BUILD_PACKAGES}
IMAGES: Final = ("gateway", "scheduler", "preprocessing", "aggregation", "inference")


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
    """An image of the real Consul."""
    folder = cache_folder() / "consul-image"
    folder.mkdir(exist_ok=True)
    shutil.copy(consul_binary, folder / "consul")
    (folder / "Containerfile").write_text(
        f'FROM {BASE}\nCOPY consul /bin/consul\nUSER 100:1000\nENTRYPOINT ["/bin/consul"]\n'
    )
    engine("build", "--quiet", "--network=none", "--tag", "localhost/consul", str(folder))
    return "localhost/consul"
