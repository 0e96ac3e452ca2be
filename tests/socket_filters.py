"""What only some users may do: the kernel of some machines lets root alone filter packets."""

import socket

import pytest

from services.common.shared_port import _drop_syn
from tests.conftest import need


@pytest.fixture(scope="session")
def socket_filters() -> None:
    """Skip, or fail where FACET_REQUIRE names filters, where a socket cannot have one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        try:
            _drop_syn(listening)
        except PermissionError:
            need("filters", "the kernel lets this user set no socket filters")
