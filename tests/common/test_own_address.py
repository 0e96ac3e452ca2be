"""Where others reach a machine that is told nothing; the network is the kernel's."""

import json
import shutil
import socket
import subprocess
import sys

import psutil
import pytest

from services.common.errors import ConfigurationError
from services.common.own_address import outward, own_address
from tests.conftest import ROOT, need

ASK = """
import json, sys
from services.common.errors import ConfigurationError
from services.common.own_address import own_address
try:
    print(json.dumps(own_address(sys.argv[1])))
except ConfigurationError as error:
    print(json.dumps({"error": error.message}))
"""


def asked_in_a_network(listens_on: str, *commands: str) -> object:
    """Ask in a network namespace of its own, which `ip` commands have set up."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        need("namespaces", "there is no unshare, or no ip")
    script = "; ".join(("set -e", *(f"ip {command}" for command in commands), 'exec "$@"'))
    done = subprocess.run(
        [
            *("unshare", "--net", "--map-root-user", "sh", "-c", script, "sh"),
            *(sys.executable, "-c", ASK, listens_on),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    if "unshare" in done.stderr:
        need("namespaces", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ETH0 = (
    "link set lo up",
    "link add eth0 type veth peer name far",
    "link set far up",
    "link set eth0 up",
)


def test_the_route_to_everywhere_decides() -> None:
    addresses = ("addr add 10.9.8.7/24 dev eth0", "addr add 10.1.1.1/24 dev eth0")
    route = "route add default via 10.1.1.254 src 10.1.1.1"
    assert asked_in_a_network("0.0.0.0", *ETH0, *addresses, route) == "10.1.1.1"


def test_without_a_way_out_the_only_address_is_meant() -> None:
    assert asked_in_a_network("", *ETH0, "addr add 10.9.8.7/24 dev eth0") == "10.9.8.7"


def test_a_listener_on_all_of_ipv6_is_reached_by_ipv6() -> None:
    addresses = ("addr add 10.9.8.7/24 dev eth0", "addr add fd00::7/64 dev eth0 nodad")
    assert asked_in_a_network("::", *ETH0, *addresses) == "fd00::7"
    assert asked_in_a_network("0.0.0.0", *ETH0, *addresses) == "10.9.8.7"


@pytest.mark.parametrize(
    "commands",
    [
        ("link set lo up",),
        (*ETH0, "addr add 10.9.8.7/24 dev eth0", "addr add 10.1.1.1/24 dev eth0"),
    ],
    ids=["no address", "two addresses"],
)
def test_what_cannot_be_told_must_be_said(commands: tuple[str, ...]) -> None:
    answer = asked_in_a_network("0.0.0.0", *commands)
    assert isinstance(answer, dict)
    assert "FACET_ADVERTISE_HOST" in answer["error"]


def test_this_machine_is_reached_at_an_address_of_its_own() -> None:
    own = {
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET
    }
    try:
        assert own_address("0.0.0.0") in outward(own)
    except ConfigurationError:
        assert len(outward(own)) != 1


def test_nobody_else_reaches_loopback_and_link_local_addresses() -> None:
    given = ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0", "10.0.0.7", "fd00::7"]
    assert outward(given) == ["10.0.0.7", "fd00::7"]
