"""Consul's gRPC checks decide who is in the view."""

from contextlib import aclosing

from tests.common.registry.helpers import OpenRegistry, StartChild, until


async def test_an_instance_that_does_not_serve_is_not_shown_until_it_does(
    consul_url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    child = await start_child(consul_url, "register", "gateway", "g-1")
    await child.says("registered")
    async with aclosing(opened(consul_url).watch("gateway")) as views:
        await until(views, lambda view: len(view.instances) == 1)
        await child.hears("not-serving")
        await until(views, lambda view: not view.instances)
        await child.hears("serving")
        await until(views, lambda view: len(view.instances) == 1)


async def test_clusters_on_one_consul_do_not_meet(
    consul_url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    other = opened(f"{consul_url}-other")
    child = await start_child(consul_url, "register", "gateway", "g-1")
    await child.says("registered")
    ours = opened(consul_url)
    assert len(await ours.instances("gateway")) == 1
    assert await other.instances("gateway") == ()
    await ours.put("key", b"ours")
    assert await other.get("key") is None
    async with (
        aclosing(ours.campaign("scheduler", "one")) as one,
        aclosing(other.campaign("scheduler", "two")) as two,
    ):
        await until(one, bool)
        await until(two, bool)
