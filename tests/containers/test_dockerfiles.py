"""What can be told of the Dockerfiles without building them."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from facet.launcher.plan import MALLOC_ENVIRONMENT, MODULES
from tests.conftest import ROOT

FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
OWN = re.compile(r"^#(?! syntax)|^ARG EXTRAS=|image\.title=|image\.description=|^ENTRYPOINT|^CMD")
SERVICES = {*MODULES, "inference-gpu", "training"}


def common(file: Path) -> list[str]:
    """The lines that are no service's own."""
    return [line for line in file.read_text().splitlines() if not OWN.search(line)]


def test_every_service_has_one_and_they_are_alike() -> None:
    assert {file.name.removesuffix(".Dockerfile") for file in FILES} == SERVICES
    for file in FILES:
        assert common(file) == common(FILES[0]), f"{file.name} and {FILES[0].name} differ"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_runs_its_own_service_with_extras_that_there_are(file: Path) -> None:
    text, name = file.read_text(), file.name.removesuffix(".Dockerfile")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r'^ARG EXTRAS="(.*)"$', text, re.MULTILINE)
    assert set(" ".join(extras).split()) <= project["optional-dependencies"].keys()
    service = name.removesuffix("-gpu")
    starts = f'["facet", "serve", "{service}"]' if service in MODULES else '["facet"]'
    assert f"ENTRYPOINT {starts}" in text
    assert f"ARG VERSION={project['version']}" in text
    assert f'title="facet-{name}"' in text


def test_memory_is_handled_as_the_launcher_has_it() -> None:
    for name, value in MALLOC_ENVIRONMENT.items():
        assert f"{name}={value} " in FILES[0].read_text().replace("\n", " ")


def test_the_uv_that_builds_images_is_the_one_that_builds_the_checkout() -> None:
    script = (ROOT / "docker/install.sh").read_text()
    installed = re.search(r"^UV_VERSION=(\S+)$", script, re.MULTILINE)
    made = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert installed is not None
    assert made is not None
    assert installed[1] == made[1]


def compose(name: str) -> dict[str, object]:
    """A compose file, parsed."""
    loaded: dict[str, object] = yaml.safe_load((ROOT / "docker" / name).read_text())
    return loaded


@pytest.mark.parametrize("name", ["compose.yaml", "compose.tls.yaml"])
def test_compose_hardens_what_it_starts(name: str) -> None:
    services = compose(name)["services"]
    assert isinstance(services, dict)
    for service, spec in services.items():
        if name == "compose.yaml" and spec.get("image", "").startswith("facet-"):
            assert spec["read_only"], service
            assert spec["cap_drop"] == ["ALL"], service
            assert spec["security_opt"] == ["no-new-privileges:true"], service
        assert "container_name" not in spec, f"{service} could not be scaled"
        build = spec.get("build")
        assert build is None or (ROOT / build["dockerfile"]).is_file(), service


def test_compose_starts_every_service_and_publishes_the_gateway_alone() -> None:
    services = compose("compose.yaml")["services"]
    assert isinstance(services, dict)
    assert set(MODULES) <= services.keys()
    facets = {name for name, spec in services.items() if spec.get("image", "").startswith("facet-")}
    published = {name for name in facets if services[name].get("ports")}
    assert published == {"gateway"}
    for name in MODULES:
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert grace > 10, f"{name} is killed before FACET_DRAIN_S is over"
