"""Many go through together, or one alone."""

import asyncio

import pytest

from gateway.gate import Gate
from tests.leaks import no_task_left  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_task_left")


class Visitors:
    """Tasks that go through a gate and stay until they are sent away."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.inside: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, name: str, *, alone: bool = False) -> None:
        """Send one to the gate."""
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._visit(name, alone))

    async def go(self, *names: str) -> None:
        """Send some away."""
        for name in names:
            self.leave[name].set()
            await self.tasks[name]
        await self.settle()

    async def settle(self) -> None:
        """Let everybody go as far as they can."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def _visit(self, name: str, alone: bool) -> None:
        async with self.gate.alone() if alone else self.gate.together():
            self.inside.append(name)
            await self.leave[name].wait()
            self.inside.remove(name)


async def test_many_are_inside_together() -> None:
    visitors = Visitors()
    for name in "abc":
        visitors.come(name)
    await visitors.settle()
    assert visitors.inside == ["a", "b", "c"]
    await visitors.go("a", "b", "c")


async def test_one_alone_waits_for_the_others_and_keeps_them_out() -> None:
    visitors = Visitors()
    visitors.come("a")
    visitors.come("b")
    await visitors.settle()
    visitors.come("alone", alone=True)
    await visitors.settle()
    visitors.come("late")
    await visitors.go("a")
    assert visitors.inside == ["b"]
    await visitors.go("b")
    assert visitors.inside == ["alone"]
    await visitors.go("alone")
    assert visitors.inside == ["late"]
    await visitors.go("late")


async def test_two_alone_take_turns() -> None:
    visitors = Visitors()
    visitors.come("one", alone=True)
    visitors.come("two", alone=True)
    visitors.come("three")
    await visitors.settle()
    assert visitors.inside == ["one"]
    await visitors.go("one")
    assert visitors.inside == ["two"]
    await visitors.go("two")
    assert visitors.inside == ["three"]
    await visitors.go("three")


@pytest.mark.parametrize("alone", [False, True])
async def test_whoever_gives_up_waiting_blocks_nobody(alone: bool) -> None:
    visitors = Visitors()
    visitors.come("inside", alone=not alone)
    await visitors.settle()
    visitors.come("impatient", alone=alone)
    await visitors.settle()
    visitors.tasks["impatient"].cancel()
    await visitors.settle()
    visitors.come("next", alone=True)
    await visitors.go("inside")
    assert visitors.inside == ["next"]
    await visitors.go("next")
