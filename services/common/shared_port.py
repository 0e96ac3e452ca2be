"""A port that several processes listen on (SO_REUSEPORT): taking it for them, and leaving it.

The kernel picks the process for each connection by a hash of its addresses. It does so when the
SYN comes in, and resets what waits in the queue of a socket that is closed.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Final

import structlog

from services.common.errors import ConfigurationError

log = structlog.get_logger(__name__)

HANDSHAKE_S: Final = 0.05
"""A client whose SYN was answered has completed its connection by then, if it is not far away.
Longer would make more clients wait for a second, to spare fewer a reset."""
_POLL_S: Final = 0.005

_SO_ATTACH_FILTER: Final = 26
_NO_SYN: Final = (  # struct sock_filter: code, jump if true, jump if false, value
    (0x30, 0, 0, 13),  # load the flags of the TCP header
    (0x54, 0, 0, 0x12),  # SYN and ACK of them
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)
_QUEUED: Final = slice(24, 28)
"""tcpi_unacked in struct tcp_info: of a listening socket, the connections to be accepted."""


@contextlib.contextmanager
def hold_port(host: str, port: int) -> Iterator[int]:
    """Keep a port (0: any that is free) for processes that share it, and yield it.

    Nobody else gets it meanwhile, not even another caller of this function. Raises
    ConfigurationError when it is in use, be it by processes that share it.
    """
    with contextlib.ExitStack() as held:
        try:
            found = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, address in dict.fromkeys(found):
                holder = held.enter_context(socket.socket(family))
                port = _hold(holder, str(address[0]), port)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}; is the port in use? ({error.strerror})"
            ) from None
        yield port


def _hold(holder: socket.socket, host: str, port: int) -> int:
    """Bind without listening, so that no client is sent here."""
    v6 = holder.family == socket.AF_INET6
    with socket.create_server((host, port), family=holder.family) as alone:
        port = int(alone.getsockname()[1])
        # Nobody listens but this one. Only from now on does it let those in who share.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # for what is in TIME_WAIT
        if v6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind((host, port))
        # With it another could bind, since this one does not listen.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return port


async def leave_port(listening: Iterable[socket.socket]) -> None:
    """Return when these sockets can be closed without loss.

    No more connections begin at them; those that had begun have been accepted, by an event loop
    that goes on doing so. A SYN that is dropped meanwhile comes again after a second, when the
    sockets are closed and the kernel picks among the others: clients that give a connection less
    than that fail. Where the kernel lets this user drop nothing, which is logged, a connection that
    begins in the moment in which the sockets are closed is reset.
    """
    sockets = list(listening)
    try:
        for each in sockets:
            _drop_syn(each)
    except PermissionError:
        log.warning("connections may be reset: the kernel lets this user set no socket filters")
    if sockets:
        await asyncio.sleep(HANDSHAKE_S)
    while any(map(_queued, sockets)):  # noqa: ASYNC110  # the kernel tells nobody
        await asyncio.sleep(_POLL_S)


def _drop_syn(listening: socket.socket) -> None:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(buffer))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _queued(listening: socket.socket) -> int:
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED.stop)
    return int.from_bytes(info[_QUEUED], sys.byteorder)
