"""A fleet keeps a link to each instance that the registry names, and picks among them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.common.deadline import Deadline
from services.common.errors import LinkLostError, UnavailableError
from services.common.rpc.fleet import Fleet
from tests.common.rpc.echo import NEVER, WAIT, Echo, EchoLink, connect, say
from tests.fakes import MemoryRegistry
from tests.servers import RunningServer, serving, start_server
from tests.waiting import PATIENCE_S, until

SOON = Deadline.after(0)


def patiently() -> Deadline:
    """A deadline that should not come."""
    return Deadline.after(PATIENCE_S)


@asynccontextmanager
async def fleet_of(registry: MemoryRegistry) -> AsyncIterator[Fleet[EchoLink]]:
    """A fleet that follows the registry for the time of the block."""
    fleet = Fleet(registry, "echo", connect)
    running = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def enter(registry: MemoryRegistry, server: RunningServer, name: str) -> None:
    """Name a server in the registry."""
    registry.enter(server.instance("echo", name))


async def test_a_pick_waits_for_the_first_instance() -> None:
    registry = MemoryRegistry()
    async with fleet_of(registry) as fleet, serving(Echo().add) as server:
        picking = asyncio.create_task(fleet.pick(patiently()))
        await asyncio.sleep(0)
        enter(registry, server, "one")
        name, link = await picking
        assert name == "one"
        assert await say(link, b"hello") == [b"hello"]


async def test_a_pick_gives_up_at_the_deadline() -> None:
    async with fleet_of(MemoryRegistry()) as fleet:
        with pytest.raises(UnavailableError, match="no echo instance") as raised:
            await fleet.pick(Deadline.after(0.02))
        assert raised.value.reason == "NO_INSTANCE"


async def test_an_instance_that_cannot_be_reached_is_not_picked() -> None:
    registry = MemoryRegistry()
    async with fleet_of(registry) as fleet, serving(Echo().add) as server:
        gone = await start_server()
        await gone.die()
        enter(registry, gone, "a")
        enter(registry, server, "b")
        assert (await fleet.pick(patiently()))[0] == "b"
        assert set(fleet.links) == {"a", "b"}
        assert await fleet.wait_for("a", Deadline.after(0.02)) is None


async def test_the_instance_with_the_fewest_calls_is_picked() -> None:
    registry, echo = MemoryRegistry(), Echo()
    async with fleet_of(registry) as fleet, serving(echo.add) as a, serving(echo.add) as b:
        enter(registry, a, "a")
        enter(registry, b, "b")
        for name in ("a", "b"):
            assert await fleet.wait_for(name, patiently()) is fleet.links[name]
        calls, picked = [], []
        for _ in range(6):
            name, link = await fleet.pick(patiently())
            picked.append(name)
            calls.append(asyncio.create_task(say(link, WAIT)))
            await until(lambda: sum(link.in_flight for link in fleet.links.values()) == len(calls))
        assert (picked.count("a"), picked.count("b")) == (3, 3)
        echo.gate.set()
        await asyncio.gather(*calls)


async def test_an_avoided_instance_is_picked_only_when_there_is_no_other() -> None:
    registry, echo = MemoryRegistry(), Echo()
    async with fleet_of(registry) as fleet, serving(echo.add) as a, serving(echo.add) as b:
        enter(registry, a, "a")
        assert (await fleet.pick(patiently(), avoid=["a"]))[0] == "a"
        enter(registry, b, "b")
        link = await fleet.wait_for("b", patiently())
        assert link is not None
        busy = asyncio.create_task(say(link, NEVER))
        await until(lambda: fleet.links["b"].in_flight == 1)
        assert (await fleet.pick(patiently(), avoid=["a"]))[0] == "b"
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_an_instance_that_leaves_answers_what_it_has() -> None:
    registry, echo = MemoryRegistry(), Echo()
    async with fleet_of(registry) as fleet, serving(echo.add) as server:
        enter(registry, server, "one")
        _, link = await fleet.pick(patiently())
        pending = asyncio.create_task(say(link, WAIT))
        await until(lambda: echo.received == 1)
        registry.remove(server.instance("echo", "one"))
        await until(lambda: not fleet.links)
        with pytest.raises(UnavailableError):
            await fleet.pick(SOON)
        echo.gate.set()
        assert await pending == [WAIT]
        await until(lambda: not link.up)


async def test_an_unreachable_registry_changes_nothing_but_the_view() -> None:
    registry = MemoryRegistry()
    async with fleet_of(registry) as fleet, serving(Echo().add) as server:
        enter(registry, server, "one")
        _, link = await fleet.pick(patiently())
        registry.set_reachable(False)
        await until(lambda: not fleet.view.reachable)
        assert await fleet.pick(SOON) == ("one", link)
        registry.set_reachable(True)
        await until(lambda: fleet.view.reachable)
        assert fleet.links == {"one": link}


async def test_whoever_shows_the_fleet_hears_of_every_change() -> None:
    registry, seen = MemoryRegistry(), list[dict[str, bool]]()
    fleet: Fleet[EchoLink] = Fleet(
        registry,
        "echo",
        connect,
        lambda: seen.append({name: link.up for name, link in fleet.links.items()}),
    )
    running = asyncio.create_task(fleet.run())
    async with serving(Echo().add) as server:
        enter(registry, server, "one")
        await until(lambda: bool(seen) and seen[-1] == {"one": True})
    await until(lambda: seen[-1] == {"one": False})
    registry.remove(server.instance("echo", "one"))
    await until(lambda: seen[-1] == {})
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_calls_end_with_the_fleet() -> None:
    registry, echo = MemoryRegistry(), Echo()
    async with serving(echo.add) as server:
        async with fleet_of(registry) as fleet:
            enter(registry, server, "one")
            _, link = await fleet.pick(patiently())
            pending = asyncio.create_task(say(link, NEVER))
            await until(lambda: echo.received == 1)
        with pytest.raises(LinkLostError):
            await pending
