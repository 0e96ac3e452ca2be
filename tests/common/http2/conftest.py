"""Every test runs on asyncio's own loop and on uvloop, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.common.http2.ends import Ends, both_ends
from tests.leaks import no_task_left  # noqa: F401


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["ours to theirs", "theirs to ours", "ours to ours"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    """A channel and a server, of which one at least is ours; no stream may be left on them."""
    async with both_ends(request.param) as ends:
        yield ends
        await ends.nothing_left()
