"""Images that were built for real: their size, what they say of themselves, how they end."""

import signal
import time

import pytest

from facet.launcher.plan import MODULES
from tests.containers.engine import Engine
from tests.waiting import PATIENCE_S

MOST_MB = {
    "gateway": 350,
    "scheduler": 350,
    "aggregation": 350,
    "preprocessing": 350,
    "inference": 500,
    "training": 2500,
}
"""With the base of the tests, which weighs about what that of Docker's library does."""


@pytest.mark.timeout(1800)
def test_images_are_small(engine: Engine, images: dict[str, str]) -> None:
    sizes = {name: engine.inspect(images[name])["Size"] / 1e6 for name in MOST_MB}
    assert all(sizes[name] < MOST_MB[name] for name in MOST_MB), sizes


@pytest.mark.timeout(1800)
def test_what_serves_on_cpus_has_no_tensorflow(engine: Engine, images: dict[str, str]) -> None:
    ask = "import importlib.util as u; print(u.find_spec('tensorflow') is not None)"
    for name in MODULES:
        image = images[name]
        done = engine("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", ask)
        assert done.stdout.strip() == "False", name


@pytest.mark.timeout(1800)
def test_images_say_what_they_are(engine: Engine, images: dict[str, str]) -> None:
    for name, image in images.items():
        config = engine.inspect(image)["Config"]
        assert config["User"] == "65532:65532"
        assert config["Labels"]["org.opencontainers.image.title"] == f"facet-{name}"
        assert engine.inspect(image)["Healthcheck"]["Test"] == ["CMD", "facet", "health"]


@pytest.mark.timeout(1800)
def test_a_container_can_be_stopped_while_it_starts(engine: Engine, images: dict[str, str]) -> None:
    # Its home is in memory, and the registry with it. Whether it comes as far as serving or not,
    # it ends by the signal, and need not be killed.
    name = engine.start(
        images["scheduler"],
        options=("--env=FACET_HOME=/tmp/facet", "--env=FACET_INSECURE=true"),
    )
    first = engine.processes(name)[0]
    deadline = time.monotonic() + PATIENCE_S
    while not int(first["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1:
        assert time.monotonic() < deadline, "it never listens to SIGTERM"
        first = engine.processes(name)[0]
    assert engine.stop(name) in (0, 143)
