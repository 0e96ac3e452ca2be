"""Load and references run in processes of their own, so that no side shares an interpreter."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Generic, Protocol, TypeVar, cast

OrderT = TypeVar("OrderT")
OrderT_contra = TypeVar("OrderT_contra", contravariant=True)
ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Runner(Protocol[OrderT_contra, ResultT_co]):
    """What a worker does; most get seconds and return a Measurement, both can be pickled."""

    def run(self, order: OrderT_contra, /) -> ResultT_co:
        """Work for a while before, and then for so many seconds in which it is counted."""

    def close(self) -> None:
        """Free what was acquired."""


class Worker(Generic[OrderT, ResultT]):
    """A runner in a process of its own; it idles between two runs."""

    def __init__(self, connection: Connection, pid: int) -> None:
        self._connection = connection
        self.pid = pid

    def run(self, order: OrderT) -> ResultT:
        """See Runner.run. Raises RuntimeError with what the runner raised."""
        self.start(order)
        return self.result()

    def start(self, order: OrderT) -> None:
        """Begin a run whose `result` is asked for later."""
        self._connection.send(order)

    def result(self) -> ResultT:
        """Wait for the end of the run. Raises RuntimeError with what the runner raised."""
        try:
            result, failure = self._connection.recv()
        except EOFError:
            raise RuntimeError("a worker died; its error is above") from None
        if failure:
            raise RuntimeError(failure)
        return cast(ResultT, result)


@contextmanager
def worker(
    build: Callable[[], Runner[OrderT, ResultT]],
) -> Iterator[Worker[OrderT, ResultT]]:
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


def _serve(build: Callable[[], Runner[OrderT, ResultT]], connection: Connection) -> None:
    runner = build()
    try:
        while True:
            order = connection.recv()
            try:
                connection.send((runner.run(order), ""))
            except Exception as error:
                connection.send((None, f"{type(error).__name__}: {error}"))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        runner.close()
