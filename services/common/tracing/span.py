"""The request that the code at work is for."""

import time
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

import grpc

from facet.type.v1 import request_pb2
from services.common.errors import FacetError


class Span:
    """Part of what becomes of a request, from its beginning to its end.

    This one is of a request that is not traced: nothing is told of it, it is its own steps, and
    all it costs is a call of a method that does nothing.
    """

    __slots__ = ("began", "context", "error")

    def __init__(self, context: request_pb2.RequestContext) -> None:
        self.context = context
        """What travels with work that is done for it."""
        self.began = time.monotonic()
        self.error: FacetError | None = None
        """Why the request failed."""

    def begin(self, name: str, **attributes: str | int) -> "Span":
        """Return a step of it that another service is asked for; to be ended or entered."""
        return self

    def part(self, number: int) -> "Span":
        """Return a request that came inside this one: one of a stream."""
        return Span(part_of(self.context, number))

    def fail(self, error: FacetError) -> None:
        """Remember why it failed."""
        self.error = error

    def answered(self, code: grpc.StatusCode) -> None:
        """The request is over, with that status."""

    def end(self) -> None:
        """It is over; what is said of it later is lost."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


def part_of(context: request_pb2.RequestContext, number: int) -> request_pb2.RequestContext:
    """Return what a request is known by that came inside another one."""
    return request_pb2.RequestContext(request_id=f"{context.request_id}/{number}")


NOBODY: Final = Span(request_pb2.RequestContext())
"""Of no request."""

CURRENT: Final[ContextVar[Span]] = ContextVar("facet_request", default=NOBODY)
"""The request that this task is for, or a step of it."""
