"""No two candidates lead at once, whatever becomes of the network or of the leader's process."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from tests.common.registry.helpers import OpenRegistry, StartChild, until
from tests.common.registry.network import Link


async def _note(campaign: AsyncGenerator[bool, None], notes: list[tuple[float, bool]]) -> None:
    async for leads in campaign:
        notes.append((time.monotonic(), leads))  # noqa: PERF401 -- at once, not at the end


async def test_a_cut_off_leader_yields_before_another_wins(
    consul_url: str, opened: OpenRegistry
) -> None:
    notes: list[tuple[float, bool]] = []
    async with Link(consul_url) as link:
        cut_off, other = opened(link.url), opened(consul_url)
        campaign = cut_off.campaign("scheduler", "cut-off")
        await until(campaign, bool)
        noting = asyncio.create_task(_note(campaign, notes))
        async with aclosing(other.campaign("scheduler", "other")) as rival:
            assert await anext(rival) is False
            link.hang()
            cut_at = time.monotonic()
            await until(rival, bool)
            won_at = time.monotonic()
        assert notes, "the leader did not yield"
        yielded_at, leads = notes[0]
        assert leads is False
        assert cut_at < yielded_at < won_at
        link.restore()
        async with aclosing(other.watch_leader("scheduler")) as leaders:
            await until(leaders, lambda leader: leader == "cut-off")
        noting.cancel()
        await asyncio.wait([noting])


async def test_a_stopped_leader_loses_and_learns_it_when_it_wakes(
    consul_url: str, opened: OpenRegistry, start_child: StartChild
) -> None:
    child = await start_child(consul_url, "campaign", "scheduler", "stopped")
    await child.says("True")
    async with aclosing(opened(consul_url).campaign("scheduler", "other")) as rival:
        assert await anext(rival) is False
        child.signal(signal.SIGSTOP)
        await until(rival, bool)
        child.signal(signal.SIGCONT)
        await child.says("False")
    await child.says("True")
    await child.stop()


async def test_an_answer_that_is_lost_leaves_no_lock_behind(
    consul_url: str, opened: OpenRegistry
) -> None:
    async with Link(consul_url) as link:
        registry = opened(link.url)
        async with aclosing(registry.campaign("scheduler", "one")) as campaign:
            # Cut again and again, mostly in the middle of a call.
            for _ in range(3):
                await until(campaign, bool)
                link.hang()
                await until(campaign, lambda leads: not leads)
                link.restore()
            await until(campaign, bool)
        async with aclosing(opened(consul_url).campaign("scheduler", "two")) as rival:
            await until(rival, bool, 2)
