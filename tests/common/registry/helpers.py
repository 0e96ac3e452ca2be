"""What the registry tests share: patience, and children that use a registry."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from services.common.registry import Registry

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a test waits for what must happen: far more than it should take."""


async def until(
    values: AsyncGenerator[T, None], wanted: Callable[[T], bool], timeout_s: float = PATIENCE_S
) -> T:
    """Return the first of the values that is wanted; TimeoutError with the last one seen."""
    last: object = "nothing at all"
    try:
        async with asyncio.timeout(timeout_s):
            async for value in values:
                if wanted(value):
                    return value
                last = value
    except TimeoutError:
        raise TimeoutError(f"the last value was {last}") from None
    raise AssertionError(f"the values ended after {last}")


class Child:
    """A running tests.common.registry.child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def hears(self, word: str) -> None:
        """Tell it to do something and wait until it has."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self.says(word)

    async def says(self, wanted: str) -> str:
        """Wait until it says a line that begins so; return that line."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self._process.stdout.readline()).decode().strip():
                if line.startswith(wanted):
                    return line
        raise AssertionError(f"the child ended without saying {wanted!r}")

    async def kill(self) -> None:
        """Kill it without a chance to clean up."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Let it end in good order."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise


StartChild = Callable[..., Awaitable[Child]]
OpenRegistry = Callable[..., Registry]
