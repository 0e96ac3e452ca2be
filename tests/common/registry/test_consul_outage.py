"""Consul goes away, hangs and forgets; the cluster's view of itself stays."""

import asyncio
from contextlib import aclosing

from services.common.registry import View
from tests.common.registry.helpers import OpenRegistry, StartChild, until
from tests.fixtures_consul import ConsulServer


async def test_a_restarted_consul_empties_no_view_and_gets_everything_again(
    consul_server: ConsulServer, opened: OpenRegistry, start_child: StartChild
) -> None:
    url = consul_server.url()
    names = ["g-1", "g-2", "g-3"]
    for name in names:
        await (await start_child(url, "register", "gateway", name)).says("registered")
    registry = opened(url)
    seen: list[View] = []

    def shows(view: View, *, reachable: bool) -> bool:
        seen.append(view)
        return view.reachable is reachable and len(view.instances) == 3

    async with aclosing(registry.watch("gateway")) as views:
        await until(views, lambda view: shows(view, reachable=True))
        seen.clear()
        await asyncio.to_thread(consul_server.stop)
        await until(views, lambda view: shows(view, reachable=False))
        await asyncio.to_thread(consul_server.start)
        await until(views, lambda view: shows(view, reachable=True))
        # Not only held: the new Consul, which knew nothing, has been told.
        async with aclosing(opened(url).watch("gateway")) as fresh:
            await until(fresh, lambda view: [each.id for each in view.instances] == names, 10)
    assert {len(view.instances) for view in seen} == {3}


async def test_who_died_during_an_outage_is_dropped_after_it(
    consul_server: ConsulServer, opened: OpenRegistry, start_child: StartChild
) -> None:
    url = consul_server.url()
    victim = await start_child(url, "register", "gateway", "victim")
    other = await start_child(url, "register", "gateway", "other")
    await victim.says("registered")
    await other.says("registered")
    async with aclosing(opened(url).watch("gateway")) as views:
        await until(views, lambda view: len(view.instances) == 2)
        await asyncio.to_thread(consul_server.kill)
        await until(views, lambda view: not view.reachable)
        await victim.kill()
        await asyncio.to_thread(consul_server.start)
        dropped = await until(views, lambda view: len(view.instances) == 1)
    assert dropped.reachable
    assert [instance.id for instance in dropped.instances] == ["other"]


async def test_a_consul_that_hangs_is_noticed(
    consul_server: ConsulServer, opened: OpenRegistry, start_child: StartChild
) -> None:
    url = consul_server.url()
    child = await start_child(url, "register", "gateway", "g-1")
    await child.says("registered")
    async with aclosing(opened(url).watch("gateway")) as views:
        first = await until(views, lambda view: len(view.instances) == 1)
        consul_server.pause()
        assert await anext(views) == View(first.instances, reachable=False)
        consul_server.resume()
        assert await until(views, lambda view: view.reachable) == first


async def test_a_leader_gives_up_when_consul_hangs_and_one_leads_afterwards(
    consul_server: ConsulServer, opened: OpenRegistry
) -> None:
    registry, observer = opened(consul_server.url()), opened(consul_server.url())
    async with (
        aclosing(registry.campaign("scheduler", "one")) as campaign,
        aclosing(observer.watch_leader("scheduler")) as leaders,
    ):
        await until(campaign, bool)
        await until(leaders, lambda leader: leader == "one")
        consul_server.pause()
        await until(campaign, lambda leads: not leads, 5)
        consul_server.resume()
        await until(campaign, bool)
        await asyncio.to_thread(consul_server.kill)
        await until(campaign, lambda leads: not leads, 5)
        await asyncio.to_thread(consul_server.start)
        await until(campaign, bool)
    async with (
        aclosing(registry.campaign("scheduler", "two")) as campaign,
        aclosing(observer.watch_leader("scheduler")) as leaders,
    ):
        await until(campaign, bool)
        await until(leaders, lambda leader: leader == "two")


async def test_a_registry_opened_before_consul_runs_finds_it_later(
    consul_server: ConsulServer, opened: OpenRegistry, start_child: StartChild
) -> None:
    await asyncio.to_thread(consul_server.stop)
    url = consul_server.url()
    registry = opened(url)
    async with (
        aclosing(registry.watch("gateway")) as views,
        aclosing(registry.campaign("scheduler", "one")) as campaign,
        aclosing(registry.watch_leader("scheduler")) as leaders,
    ):
        assert await anext(views) == View((), reachable=False)
        assert await anext(campaign) is False
        assert await anext(leaders) is None
        await asyncio.to_thread(consul_server.start)
        await until(campaign, bool)
        await until(leaders, lambda leader: leader == "one")
        child = await start_child(url, "register", "gateway", "g-1")
        await child.says("registered")
        await until(views, lambda view: view.reachable and len(view.instances) == 1)
