"""A link matches answers to calls, and survives whatever happens to the other end."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from facet.preprocessing.v1 import preprocessing_pb2
from services.common.errors import (
    DeadlineExceededError,
    DrainingError,
    InternalError,
    InvalidRequestError,
    LinkLostError,
)
from services.common.http2.channel import Channel
from services.common.rpc.links import Link
from tests.common.rpc.echo import (
    BREAK,
    NEVER,
    REFUSE,
    TELL,
    WAIT,
    Echo,
    EchoLink,
    Watched,
    linked,
    say,
)
from tests.conftest import ROOT
from tests.servers import RunningServer, serving, start_server
from tests.waiting import PATIENCE_S, until


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Echo, RunningServer, Watched]]:
    """An echo and a link to it that is up."""
    echo = Echo()
    async with serving(echo.add) as server, linked(server.address) as watched:
        yield echo, server, watched


async def test_each_call_gets_its_own_answer() -> None:
    async with echoing() as (_, _, watched):
        contents = [str(number).encode() for number in range(300)]
        answers = await asyncio.gather(*(say(watched.link, content) for content in contents))
        assert answers == [[content] for content in contents]
        assert watched.link.in_flight == 0


async def test_a_quick_call_overtakes_a_slow_one() -> None:
    async with echoing() as (echo, _, watched):
        slow = asyncio.create_task(say(watched.link, WAIT))
        assert await say(watched.link, b"quick") == [b"quick"]
        assert not slow.done()
        echo.gate.set()
        assert await slow == [WAIT]


async def test_an_error_is_its_calls_alone() -> None:
    async with echoing() as (_, _, watched):
        refused, broken, fine = await asyncio.gather(
            say(watched.link, REFUSE),
            say(watched.link, BREAK),
            say(watched.link, b"fine"),
            return_exceptions=True,
        )
        assert isinstance(refused, InvalidRequestError)
        assert refused.reason == "WRONG_SHAPE"
        assert isinstance(broken, InternalError)
        assert "KeyError" not in broken.message
        assert fine == [b"fine"]


async def test_a_caller_that_goes_harms_nobody() -> None:
    async with echoing() as (echo, _, watched):
        others = [asyncio.create_task(say(watched.link, WAIT, b"%d" % n)) for n in range(10)]
        gone = asyncio.create_task(say(watched.link, WAIT))
        await until(lambda: echo.received == 11)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert watched.link.in_flight == 10
        echo.gate.set()
        assert await asyncio.gather(*others) == [[WAIT, b"%d" % n] for n in range(10)]
        assert await say(watched.link, b"next") == [b"next"]


async def test_what_is_told_comes_after_earlier_calls_and_is_not_answered() -> None:
    async with echoing() as (echo, _, watched):
        waiting = [asyncio.create_task(say(watched.link, WAIT)) for _ in range(3)]
        await until(lambda: watched.link.in_flight == 3)
        watched.link.tell(preprocessing_pb2.PrepareRequest(images=[TELL]))
        assert watched.link.in_flight == 3
        assert await say(watched.link, b"next") == [b"next"]
        assert echo.told_after == [3]
        echo.gate.set()
        assert await asyncio.gather(*waiting) == [[WAIT]] * 3


async def test_what_is_told_to_nobody_is_dropped() -> None:
    async with echoing() as (_, server, watched):
        await server.die()
        await watched.is_up(False)
        watched.link.tell(preprocessing_pb2.PrepareRequest(images=[TELL]))
        echo = Echo()
        async with serving(echo.add, port=server.port):
            await watched.is_up()
            assert await say(watched.link, b"back") == [b"back"]
            assert not echo.told_after


async def test_a_call_ends_with_its_deadline() -> None:
    async with echoing() as (_, _, watched):
        with pytest.raises(DeadlineExceededError):
            await say(watched.link, NEVER, seconds=0.05)
        assert watched.link.in_flight == 0
        assert await say(watched.link, b"next") == [b"next"]


async def test_a_call_whose_deadline_is_over_does_not_wait() -> None:
    async with echoing() as (_, _, watched):
        with pytest.raises(DeadlineExceededError):
            await say(watched.link, WAIT, seconds=-1)


async def test_calls_in_flight_are_lost_with_the_server_and_the_link_comes_back() -> None:
    async with echoing() as (echo, server, watched):
        pending = [asyncio.create_task(say(watched.link, NEVER)) for _ in range(5)]
        await until(lambda: echo.received == 5)
        await server.die()
        lost = await asyncio.gather(*pending, return_exceptions=True)
        assert [type(error) for error in lost] == [LinkLostError] * 5
        await watched.is_up(False)
        with pytest.raises(LinkLostError):
            await say(watched.link, b"into the void")
        again = await start_server(Echo().add, port=server.port)
        await watched.is_up()
        assert await say(watched.link, b"back") == [b"back"]
        await again.die()


async def test_a_link_comes_up_when_its_server_does() -> None:
    async with serving(Echo().add) as server:
        port = server.port
    watched = Watched(f"127.0.0.1:{port}")
    running = asyncio.create_task(watched.link.run())
    with pytest.raises(LinkLostError):
        await say(watched.link, b"too early")
    async with serving(Echo().add, port=port):
        await watched.is_up()
        assert await say(watched.link, b"now") == [b"now"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_killed_process_is_noticed_and_found_again() -> None:
    async with echo_process() as first, linked(f"127.0.0.1:{first.port}") as watched:
        pending = asyncio.create_task(say(watched.link, NEVER))
        assert await say(watched.link, b"there") == [b"there"]
        await first.kill()
        with pytest.raises(LinkLostError):
            await pending
        async with echo_process(first.port):
            await watched.is_up()
            assert await say(watched.link, b"again") == [b"again"]
            assert watched.changes == [True, False, True]


async def test_draining_answers_what_is_in_hand_and_hands_back_the_rest() -> None:
    async with echoing() as (echo, _, watched):
        in_hand = [asyncio.create_task(say(watched.link, WAIT, b"%d" % n)) for n in range(4)]
        await until(lambda: echo.received == 4)
        echo.draining.set()
        late = asyncio.create_task(say(watched.link, b"late"))
        echo.gate.set()
        assert await asyncio.gather(*in_hand) == [[WAIT, b"%d" % n] for n in range(4)]
        with pytest.raises(DrainingError):
            await late
        await watched.is_up(False)


async def test_a_retired_link_waits_for_its_calls() -> None:
    echo = Echo()
    async with serving(echo.add) as server:
        watched = Watched(server.address)
        running = asyncio.create_task(watched.link.run())
        await watched.is_up()
        pending = asyncio.create_task(say(watched.link, WAIT))
        await until(lambda: echo.received == 1)
        watched.link.retire()
        assert await say(watched.link, b"still") == [b"still"]
        assert not running.done()
        echo.gate.set()
        assert await pending == [WAIT]
        await asyncio.wait_for(running, PATIENCE_S)
        assert not watched.link.up


async def test_a_retired_link_does_not_wait_for_a_dead_server() -> None:
    server = await start_server(Echo().add)
    watched = Watched(server.address)
    running = asyncio.create_task(watched.link.run())
    await watched.is_up()
    pending = asyncio.create_task(say(watched.link, NEVER))
    await until(lambda: watched.link.in_flight == 1)
    watched.link.retire()
    await server.die()
    with pytest.raises(LinkLostError):
        await pending
    await asyncio.wait_for(running, PATIENCE_S)


async def test_closing_a_link_ends_its_calls_and_those_on_the_server() -> None:
    echo = Echo()
    async with serving(echo.add) as server:
        async with linked(server.address) as watched:
            pending = asyncio.create_task(say(watched.link, NEVER))
            await until(lambda: echo.received == 1)
        with pytest.raises(LinkLostError):
            await pending
        await until(lambda: echo.cancelled == 1)


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    async with echoing() as (echo, _, watched):
        with pytest.raises(DeadlineExceededError):
            await say(watched.link, WAIT, seconds=0.01)
        echo.gate.set()
        assert await say(watched.link, b"mine") == [b"mine"]


async def test_a_fault_in_a_link_takes_it_down_and_it_recovers() -> None:
    def open_badly(_: Channel) -> Any:
        raise ValueError("a fault")

    async with serving(Echo().add) as server, linked(server.address) as watched:
        good, watched.link._open_stream = watched.link._open_stream, open_badly
        await server.die()
        await watched.is_up(False)
        async with serving(Echo().add, port=server.port):
            watched.link._open_stream = good
            await watched.is_up()
            assert await say(watched.link, b"back") == [b"back"]


class Stubborn:
    """A stream that fails at the moment at which its task is cancelled, as grpc.aio's may."""

    def cancel(self) -> None:
        """Nothing to do."""

    async def wait_for_connection(self) -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError from None


async def test_a_stream_that_swallows_its_end_does_not_keep_the_link() -> None:
    link: EchoLink = Link("127.0.0.1:1", lambda _: cast("Any", Stubborn()), lambda: None)
    running = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait_for(asyncio.gather(running, return_exceptions=True), PATIENCE_S)


class EchoProcess:
    """An echo in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def kill(self) -> None:
        """Kill it without a chance to say anything. Idempotent."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def echo_process(port: int = 0) -> AsyncIterator[EchoProcess]:
    """Run an echo process for the time of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.common.rpc.echo", str(port)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    running = EchoProcess(process, port)
    try:
        running.port = int(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
        yield running
    finally:
        await running.kill()
