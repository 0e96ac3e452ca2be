"""Cancellation that grpc.aio cannot swallow."""

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError in a task that was cancelled and runs on nevertheless.

    When a call fails at the very moment at which its task is cancelled, grpc.aio raises the call's
    error and forgets the cancellation. A loop that tries again would never end: it must ask here
    first.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
