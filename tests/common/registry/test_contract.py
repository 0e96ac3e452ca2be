"""What every registry does, each test with each kind of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.common.errors import InvalidRequestError, RegistryError
from services.common.registry import Instance, View, open_registry
from tests.common.registry.helpers import OpenRegistry, StartChild, until


def ids(view: View) -> list[str]:
    return [instance.id for instance in view.instances]


async def test_an_instance_is_seen_from_register_to_withdraw(
    url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    registry = opened(url)
    async with aclosing(registry.watch("gateway")) as views:
        assert await anext(views) == View()
        child = await start_child(url, "register", "gateway", "g-1")
        port = int((await child.says("registered")).split()[1])
        expected = Instance("gateway", "g-1", "127.0.0.1", port, {"zone": "a", "note": "é"})
        assert await until(views, lambda view: bool(view.instances)) == View((expected,))
        assert await registry.instances("gateway") == (expected,)
        assert await registry.instances("inference") == ()
        await child.hears("withdraw")
        assert await until(views, lambda view: not view.instances) == View()
        assert await registry.instances("gateway") == ()


async def test_a_killed_process_disappears(
    url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    victim = await start_child(url, "register", "gateway", "victim")
    other = await start_child(url, "register", "gateway", "other")
    await victim.says("registered")
    await other.says("registered")
    async with aclosing(opened(url).watch("gateway")) as views:
        await until(views, lambda view: ids(view) == ["other", "victim"])
        await victim.kill()
        await until(views, lambda view: ids(view) == ["other"], 10)


async def test_ten_processes_at_once_see_and_are_seen(
    url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    names = [f"shard-{number}" for number in range(10)]
    async with aclosing(opened(url).watch("inference")) as views:
        children = await asyncio.gather(
            *(start_child(url, "register", "inference", name) for name in names)
        )
        await until(views, lambda view: ids(view) == names)
        await asyncio.gather(*(child.stop() for child in children))
        await until(views, lambda view: not view.instances)


async def test_one_candidate_leads_and_another_after_its_sigkill(
    url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    async with aclosing(opened(url).watch_leader("scheduler")) as leaders:
        assert await anext(leaders) is None
        first = await start_child(url, "campaign", "scheduler", "first")
        await first.says("True")
        await until(leaders, lambda leader: leader == "first")
        second = await start_child(url, "campaign", "scheduler", "second")
        await second.says("False")
        await first.kill()
        await second.says("True")
        await until(leaders, lambda leader: leader == "second")
        await second.stop()
        await until(leaders, lambda leader: leader is None)


async def test_closing_a_campaign_resigns_at_once(url: str, opened: OpenRegistry) -> None:
    registry = opened(url)
    first, second = registry.campaign("scheduler", "one"), registry.campaign("scheduler", "two")
    await until(first, bool)
    assert await anext(second) is False
    await first.aclose()
    await until(second, bool, 2)
    await second.aclose()


async def test_roles_do_not_meet(url: str, opened: OpenRegistry) -> None:
    registry = opened(url)
    async with (
        aclosing(registry.campaign("scheduler", "one")) as one,
        aclosing(registry.campaign("trainer", "two")) as two,
    ):
        await until(one, bool)
        await until(two, bool)


async def test_a_leader_stays_one_while_its_consumer_is_busy(
    url: str, opened: OpenRegistry
) -> None:
    first, second = opened(url), opened(url)
    async with (
        aclosing(first.campaign("scheduler", "busy")) as busy,
        aclosing(second.campaign("scheduler", "eager")) as eager,
        aclosing(second.watch_leader("scheduler")) as leaders,
    ):
        await until(busy, bool)
        await until(leaders, lambda leader: leader == "busy")
        # Longer than any lease, and `busy` is not asked meanwhile.
        with pytest.raises(TimeoutError):
            await until(eager, bool, 4)
        with pytest.raises(TimeoutError):
            await until(leaders, lambda leader: leader != "busy", 0.1)


async def test_values_are_kept_byte_by_byte(url: str, opened: OpenRegistry) -> None:
    one, other = opened(url), opened(url)
    assert await one.get("limits/images") is None
    for value in (bytes(range(256)), b"", b"null", "é".encode()):
        await one.put("limits/images", value)
        assert await other.get("limits/images") == value
    await one.put("limits", b"a key and a prefix of a key")
    assert await other.get("limits/images") == "é".encode()
    await one.delete("limits/images")
    await one.delete("limits/images")
    assert await other.get("limits/images") is None
    assert await other.get("limits") == b"a key and a prefix of a key"


async def test_what_cannot_be_kept_is_refused(url: str, opened: OpenRegistry) -> None:
    registry = opened(url)
    for key in ("", "/a", "a/", "a//b", "leaders/scheduler", "a b", "a" * 129):
        with pytest.raises(InvalidRequestError):
            await registry.get(key)
    with pytest.raises(InvalidRequestError):
        await registry.register(Instance("gateway", "a/b", "127.0.0.1", 1))
    with pytest.raises(InvalidRequestError):
        registry.watch("Gateway")
    with pytest.raises(InvalidRequestError):
        registry.campaign("scheduler", "")


async def test_close_ends_everything(url: str, opened: OpenRegistry) -> None:
    observer, registry = opened(url), open_registry(url)
    await registry.register(Instance("gateway", "g", "127.0.0.1", 1))
    async with (
        aclosing(observer.watch_leader("scheduler")) as leaders,
        aclosing(observer.watch("gateway")) as views,
    ):
        campaign = registry.campaign("scheduler", "one")
        watch = registry.watch("gateway")
        await until(campaign, bool)
        await until(leaders, lambda leader: leader == "one")
        await until(watch, lambda view: ids(view) == ["g"])
        ends = asyncio.gather(_last(campaign), _last(watch))
        await registry.close()
        assert (await ends)[0] is False
        await until(leaders, lambda leader: leader is None, 1.5)
        await until(views, lambda view: not view.instances)
    assert [view async for view in registry.watch("gateway")] == []
    with pytest.raises(RegistryError, match="closed"):
        await registry.get("a")
    with pytest.raises(RegistryError, match="closed"):
        await registry.register(Instance("gateway", "g", "127.0.0.1", 1))


async def _last(values: AsyncGenerator[object, None]) -> object:
    last = None
    async for value in values:
        last = value
    return last
