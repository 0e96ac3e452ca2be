"""The address at which other machines reach this one, where nobody says it.

A container or a pod learns its address when it starts, so that no setting can hold it. It is the
one that the kernel would send from on the route to everywhere else; where there is no such route
(a network without a way out), the only one that is not loopback.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from services.common.errors import ConfigurationError

ELSEWHERE: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of nobody, reserved for documentation (RFC 5737, RFC 3849). Nothing is sent there."""


def own_address(listens_on: str) -> str:
    """Return this machine's address, of the family of a wildcard: "0.0.0.0", "::" or "".

    Raises ConfigurationError where there is none, or several and no reason to choose one.
    """
    families = {
        "0.0.0.0": (socket.AF_INET,),  # compared, not bound
        "::": (socket.AF_INET6, socket.AF_INET),
    }.get(listens_on, (socket.AF_INET, socket.AF_INET6))
    for family in families:
        if (routed := _routed(family)) is not None:
            return routed
    for family in families:
        if len(found := outward(_addresses(family))) == 1:
            return found[0]
    raise ConfigurationError(
        "FACET_ADVERTISE_HOST must say where others reach this process: FACET_HOST is "
        f"{listens_on!r}, and this machine has no route by which its address could be told"
    )


def outward(addresses: Iterable[str]) -> list[str]:
    """Return those at which other machines can reach this one."""
    parsed = [ipaddress.ip_address(address) for address in addresses]
    return [
        str(address)
        for address in parsed
        if not (address.is_loopback or address.is_link_local or address.is_unspecified)
    ]


def _routed(family: socket.AddressFamily) -> str | None:
    """The source address on the route to everywhere; asking a datagram socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((ELSEWHERE[family], 9))
            address = str(probe.getsockname()[0])
    except OSError:
        return None
    return next(iter(outward([address])), None)


def _addresses(family: socket.AddressFamily) -> list[str]:
    import psutil  # most processes are told their address

    return [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == family and "%" not in address.address  # with a zone: link-local
    ]
