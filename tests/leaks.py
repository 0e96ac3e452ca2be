"""The proof that a test leaves no task behind: import the fixture where it is needed.

from tests.leaks import no_task_left  # noqa: F401
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.waiting import PATIENCE_S


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test after which tasks still run that it started."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        # What was cancelled needs some turns of the loop to end.
        await asyncio.wait(left, timeout=PATIENCE_S / 10)
    assert not {task for task in left if not task.done()}
