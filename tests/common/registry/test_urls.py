"""Which URL means which registry, and what may be called how."""

from pathlib import Path

import pytest

from services.common.errors import InvalidRequestError
from services.common.registry import Instance, open_registry
from services.common.registry.access import ConsulAccess
from services.common.registry.consul import ConsulRegistry
from services.common.registry.directory import DirectoryRegistry
from services.common.registry.names import check_instance, check_key, check_name


def test_a_file_url_is_a_directory_that_is_not_made_yet(tmp_path: Path) -> None:
    assert isinstance(open_registry((tmp_path / "a b").as_uri()), DirectoryRegistry)
    assert not (tmp_path / "a b").exists()


@pytest.mark.parametrize(
    "url",
    ["consul://localhost", "consul://10.0.0.1:8501", "consul://[::1]:8500/facet-2/"],
)
def test_a_consul_url_is_a_consul(url: str) -> None:
    assert isinstance(open_registry(url, ConsulAccess("t")), ConsulRegistry)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/tmp/registry",
        "file:registry",
        "file://host/registry",
        "file:///",
        "file:///a?b=c",
        "consul://",
        "consul:///facet",
        "consul://host:http",
        "consul://host:99999",
        "consul://user:secret@host",
        "consul://host/a/b",
        "consul://host/Facet",
        "consul://host#a",
        "consul://[::1",
        "etcd://host",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        open_registry(url)


@pytest.mark.parametrize("name", ["gateway", "a", "a-b-1", "a" * 63])
def test_names(name: str) -> None:
    assert check_name(name, "service") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "..", "a" * 64, "a\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="service"):
        check_name(name, "service")


def test_keys() -> None:
    for key in ("a", "a/b.c/d_e-F", "leaders-of-old", "a" * 128):
        assert check_key(key) == key


@pytest.mark.parametrize(
    "instance",
    [
        Instance("gateway", "", "host", 1),
        Instance("gateway", "a b", "host", 1),
        Instance("gateway", "a", "", 1),
        Instance("gateway", "a", "host", 0),
        Instance("gateway", "a", "host", 65536),
        Instance("gateway", "a", "host", 1, {str(number): "" for number in range(65)}),
        Instance("gateway", "a", "host", 1, {"a": "b" * 513}),
        Instance("gateway", "a", "host", 1, {"a b": ""}),
        Instance("gateway", "a", "host", 1, {"a" * 129: ""}),
    ],
)
def test_instances_that_no_registry_could_hold(instance: Instance) -> None:
    with pytest.raises(InvalidRequestError):
        check_instance(instance)
