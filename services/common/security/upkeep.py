"""Keeping certificates fresh, and saying in time that they will have expired."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.common.following.changes import follow
from services.common.security.credentials import Credentials

REMIND_S: Final = 6 * 3600.0
"""How often the log says that a certificate expires soon."""


async def keep_fresh(credentials: Sequence[Credentials]) -> None:
    """Read certificates again when their files change; never returns, cancel it."""
    loop = asyncio.get_running_loop()
    remind_at = 0.0

    async def look() -> None:
        nonlocal remind_at
        fresh = [await each.refresh() for each in credentials]
        if any(fresh) or loop.time() >= remind_at:
            remind_at = loop.time() + REMIND_S
            for each in credentials:
                each.warn_of_expiry()

    await follow([path for each in credentials for path in each.files.all], look)
