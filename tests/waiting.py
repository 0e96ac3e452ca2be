"""Waiting for what must happen."""

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 30.0
"""How long a test waits: far more than it should take."""


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds; TimeoutError when it never does."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.002)
