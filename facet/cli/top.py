"""`facet top`: the cluster, live, in the terminal."""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from facet.cli.gateway_options import calls_gateway
from facet.cli.options import DEFAULT_GATEWAY, ToGateway
from facet.cli.output import answers, errors_to
from facet.cli.top_view import frame
from facet.client.connection import Gateway
from facet.client.watching import get_cluster, watch_cluster
from facet.cluster.v1 import cluster_pb2

PERIOD_S: Final = 0.5
"""Between two frames, at least."""
EVERYTHING: Final = 10_000
"""Lines of a frame that no terminal limits."""


@calls_gateway
def top(
    once: Annotated[bool, typer.Option("--once", help="Print one frame and leave.")] = False,
    gateway: ToGateway = DEFAULT_GATEWAY,
) -> None:
    """Show shards, their load and their performance model, live; q leaves."""
    console = answers()
    if once:
        shown = frame(asyncio.run(get_cluster(gateway)), console.width, EVERYTHING)
        console.print(Group(*shown))
    elif console.is_terminal and sys.stdin.isatty():
        asyncio.run(_Screen(console, gateway).run())
    else:
        errors_to("facet top needs a terminal; --once prints one frame anywhere")
        raise typer.Exit(2)


class _Screen:
    """The terminal while it is taken."""

    def __init__(self, console: Console, gateway: Gateway) -> None:
        self._console = console
        self._gateway = gateway
        self._cluster = cluster_pb2.Cluster()
        self._note = f"Asking {gateway} …"
        self._changed = asyncio.Event()
        self._left = asyncio.Event()

    async def run(self) -> None:
        """Show frames until somebody leaves."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._left.set)
        loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        tasks = [asyncio.create_task(each) for each in (self._left.wait(), self._follow())]
        try:
            with _keys(self._pressed), self._live() as live:
                tasks.append(asyncio.create_task(self._draw(live)))
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure

    def _live(self) -> Live:
        # It would draw from a thread of its own otherwise, at times of its own.
        return Live(console=self._console, screen=True, auto_refresh=False)

    async def _draw(self, live: Live) -> None:
        while True:
            self._changed.clear()
            live.update(Group(*self._lines()), refresh=True)
            await asyncio.sleep(PERIOD_S)
            await self._changed.wait()

    def _lines(self) -> list[Text]:
        width, height = self._console.size
        return frame(self._cluster, width, height, self._note, "q leaves")

    async def _follow(self) -> None:
        async with aclosing(watch_cluster(self._gateway)) as views:
            async for cluster in views:
                if cluster is not None:
                    self._cluster, self._note = cluster, ""
                else:
                    self._note = f"No gateway answers at {self._gateway}; trying again."
                self._changed.set()

    def _pressed(self, key: str) -> None:
        if key in "qQ\x03\x04":
            self._left.set()


@contextmanager
def _keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call `pressed` with each key; the terminal is as it was afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in os.read(descriptor, 64).decode("utf-8", "replace") or "\x04":
            pressed(key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
