"""Load and references run in processes of their own, so that no side shares an interpreter."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Protocol

from benchmarks.measurement import Measurement


class Runner(Protocol):
    """What a worker does."""

    def run(self, seconds: float) -> Measurement:
        """Work for a while before, and then for so many seconds in which it is counted."""

    def close(self) -> None:
        """Free what was acquired."""


class Worker:
    """A runner in a process of its own; it idles between two runs."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def run(self, seconds: float) -> Measurement:
        """See Runner.run. Raises RuntimeError with what the runner raised."""
        self._connection.send(seconds)
        return _received(self._connection)


@contextmanager
def worker(build: Callable[[], Runner]) -> Iterator[Worker]:
    """Run what `build`, which can be pickled, builds over there; gone when the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(build, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert process.pid is not None
        yield Worker(ours, process.pid)
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _received(connection: Connection) -> Measurement:
    try:
        answer = connection.recv()
    except EOFError:
        raise RuntimeError("a worker died; its error is above") from None
    if isinstance(answer, Measurement):
        return answer
    raise RuntimeError(answer)


def _serve(build: Callable[[], Runner], connection: Connection) -> None:
    runner = build()
    try:
        while True:
            seconds = connection.recv()
            try:
                connection.send(runner.run(seconds))
            except Exception as error:
                connection.send(f"{type(error).__name__}: {error}")
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        runner.close()
