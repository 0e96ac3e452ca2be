"""Taking a port for processes that share it, and leaving it, on real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
import structlog

from services.common import shared_port
from services.common.errors import ConfigurationError
from services.common.shared_port import hold_port, leave_port
from tests.socket_filters import socket_filters  # noqa: F401
from tests.waiting import PATIENCE_S, until

HOST = "127.0.0.1"
CLIENTS = 64


def listen(port: int, *, shared: bool = True) -> socket.socket:
    """A socket that listens there and does not block."""
    listening = socket.create_server((HOST, port), reuse_port=shared, backlog=CLIENTS)
    listening.setblocking(False)
    return listening


@contextlib.contextmanager
def refused(port: int) -> Iterator[None]:
    """The port is said to be in use."""
    with pytest.raises(ConfigurationError, match=f"{HOST}:{port}; is the port in use"):
        yield


def refuses_others(port: int) -> None:
    """Neither who wants it alone gets it, nor another who wants it for those who share."""
    with refused(port), hold_port(HOST, port):
        pass
    with pytest.raises(OSError, match="in use"):
        listen(port, shared=False)


def test_a_held_port_is_for_those_who_share_it() -> None:
    with hold_port(HOST, 0) as port:
        refuses_others(port)
        with listen(port), listen(port):
            refuses_others(port)
        refuses_others(port)
    with hold_port(HOST, port):
        pass


@pytest.mark.parametrize("shared", [True, False])
def test_a_port_where_somebody_listens_cannot_be_held(shared: bool) -> None:
    with listen(0, shared=shared) as taken:
        port = taken.getsockname()[1]
        with refused(port), hold_port(HOST, port):
            pass


@pytest.mark.parametrize("shared", [True, False])
def test_connections_of_the_past_do_not_stand_in_the_way(shared: bool) -> None:
    with listen(0, shared=shared) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            listening.setblocking(True)
            listening.accept()[0].close()  # first, so that this end is in TIME_WAIT
            assert client.recv(1) == b""
    with hold_port(HOST, port) as held, listen(held):
        pass


def test_every_address_of_a_name_is_held() -> None:
    with hold_port("localhost", 0) as port:
        for family, *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
            with pytest.raises(OSError, match="in use"):
                socket.create_server(address[:2], family=family)


@pytest.mark.usefixtures("socket_filters")
async def test_no_client_of_a_port_that_is_left_is_lost() -> None:
    loop = asyncio.get_running_loop()
    accepted: list[socket.socket] = []
    with hold_port(HOST, 0) as port, listen(port) as staying, contextlib.ExitStack() as open_ones:

        async def connect() -> None:
            client = open_ones.enter_context(socket.socket())
            client.setblocking(False)
            await loop.sock_connect(client, (HOST, port))

        async def accept(listening: socket.socket) -> None:
            while True:
                connection, _ = await loop.sock_accept(listening)
                accepted.append(open_ones.enter_context(connection))

        with listen(port) as going:
            await asyncio.gather(*(connect() for _ in range(CLIENTS)))
            leaving = asyncio.create_task(leave_port([going]))
            await asyncio.sleep(0)  # it has begun
            during = [asyncio.create_task(connect()) for _ in range(CLIENTS)]
            accepting = [asyncio.create_task(accept(each)) for each in (staying, going)]
            await asyncio.wait_for(leaving, PATIENCE_S)
            accepting[1].cancel()
            await asyncio.wait(accepting[1:])
            assert not all(each.done() for each in during)
        await asyncio.wait_for(asyncio.gather(*during), PATIENCE_S)
        await until(lambda: len(accepted) == 2 * CLIENTS)
        accepting[0].cancel()
        await asyncio.wait(accepting)


async def test_what_waits_in_the_queue_is_waited_for() -> None:
    loop = asyncio.get_running_loop()
    with listen(0) as going, socket.create_connection(going.getsockname()):
        leaving = asyncio.create_task(leave_port([going]))
        await asyncio.wait({leaving}, timeout=0.5)
        assert not leaving.done()
        accepted, _ = await loop.sock_accept(going)
        accepted.close()
        await asyncio.wait_for(leaving, PATIENCE_S)


async def test_who_may_set_no_filter_says_so_and_waits_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(listening: socket.socket) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(shared_port, "_drop_syn", refuse)
    loop = asyncio.get_running_loop()
    with (
        listen(0) as going,
        socket.create_connection(going.getsockname()),
        structlog.testing.capture_logs() as lines,
    ):
        leaving = asyncio.create_task(leave_port([going]))
        await until(lambda: bool(lines))
        assert not leaving.done()
        accepted, _ = await loop.sock_accept(going)
        accepted.close()
        await asyncio.wait_for(leaving, PATIENCE_S)
    (line,) = lines
    assert "no socket filters" in line["event"]
