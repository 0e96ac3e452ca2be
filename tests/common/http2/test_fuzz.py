"""Random frames, thousands of connections of them: nothing but a ProtocolError may come of it."""

import asyncio
import random
from typing import Final, cast

import pytest
from hpack import Encoder

from services.common.http2.frames import PREFACE, Kind, frame, settings_frame, word_frame
from services.common.http2.headers import header_block
from services.common.http2.server import Server
from services.common.http2.server_connection import ServerConnection
from tests.common.http2.ends import SERVICE, Echo, Methods, our_server, their_channel
from tests.common.http2.raw import data, raw_client, request
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")

CONNECTIONS: Final = 1_500
FRAMES: Final = 25
METHODS: Final = ("Say", "Talk", "Gather", "Repeat", "First", "Fail", "Missing", "Abort", "Wait")


class Sink:
    """A transport that swallows what is written, and reports its end as a real one does."""

    def __init__(self) -> None:
        self.connection: ServerConnection | None = None
        self._closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio.Transport."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """See asyncio.BaseTransport: of a socket there is nothing to tell."""
        return default

    def write(self, _: bytes) -> None:
        """See asyncio.Transport."""

    def writelines(self, _: list[bytes]) -> None:
        """See asyncio.Transport."""

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closing

    def can_write_eof(self) -> bool:
        """See asyncio.Transport."""
        return True

    def write_eof(self) -> None:
        """See asyncio.Transport; the peer closes, too."""
        self.abort()

    def abort(self) -> None:
        """See asyncio.Transport."""
        if not self._closing and self.connection is not None:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


def random_frame(chance: random.Random, encoder: Encoder) -> bytes:
    """Some frame, most of them nearly right."""
    stream_id = chance.choice([0, 1, 1, 1, 2, 3, 5, 7, 2**31 - 1])
    flags = chance.choice([0, 0, 1, 4, 5, 8, 9, 0x20, 0x25, 0xFF])
    junk = chance.randbytes(chance.choice([0, 1, 4, 5, 8, 9, 60]))
    match chance.randrange(9):
        case 0 | 1:
            headers = request(chance.choice(METHODS))
            if chance.random() < 0.3:
                headers.insert(chance.randrange(len(headers) + 1), (junk[:5], junk))
            block = chance.choice([header_block(headers), encoder.encode(headers), junk])
            return frame(Kind.HEADERS, chance.choice([4, 4, 5, flags]), stream_id, block)
        case 2 | 3:
            return data(stream_id, *[junk] * chance.randrange(3), flags=chance.choice([0, 1]))
        case 4:
            number = chance.choice([0, 1, 65_535, 2**31 - 1, 2**32 - 1])
            return word_frame(
                chance.choice([Kind.WINDOW_UPDATE, Kind.RST_STREAM]), stream_id, number
            )
        case 5:
            settings = {chance.choice(range(9)): chance.choice([0, 1, 2, 16_384, 2**31 - 1])}
            return settings_frame(settings)  # type: ignore[arg-type]
        case 6:
            return frame(Kind.PING, chance.choice([0, 1]), 0, chance.randbytes(8))
        case 7:
            return frame(chance.randrange(12), flags, stream_id, junk)
        case _:
            return junk


def random_connection(chance: random.Random) -> bytes:
    """All that a client says."""
    encoder = Encoder()
    said = [random_frame(chance, encoder) for _ in range(chance.randrange(FRAMES))]
    return PREFACE + settings_frame({}) + b"".join(said)


async def test_random_frames_raise_nothing_into_the_loop() -> None:
    server = Server(10_000)
    server.add_registered_method_handlers(SERVICE, Echo().handlers)
    chance = random.Random(7)
    for number in range(CONNECTIONS):
        wire = random_connection(chance)
        sink = Sink()
        connection = sink.connection = ServerConnection(server)
        connection.connection_made(cast("asyncio.Transport", sink))
        at = 0
        while at < len(wire):
            size = chance.choice([1, 9, 100, 10_000])
            connection.data_received(wire[at : at + size])
            at += size
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        if number % 2:
            connection.eof_received()
            sink.abort()
        else:
            connection.abort("the test is over")
        assert not connection.streams
    await until(lambda: not server._connections and not server._calls)


async def test_random_clients_leave_a_server_that_serves() -> None:
    echo = Echo()
    chance = random.Random(11)
    async with our_server(echo) as (server, address), their_channel(address) as channel:
        call = Methods(channel)
        for number in range(150):
            async with raw_client(address) as raw:
                raw.send(random_connection(chance))
                if number % 3 == 0:
                    await asyncio.sleep(0)
            if number % 50 == 0:
                assert await call.say(b"m") == b"m"
        await until(lambda: len(server._connections) == 1 and not server._calls)
        assert await call.say(b"m") == b"m"
        assert not any(each.streams for each in server._connections)
