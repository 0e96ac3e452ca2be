"""What one process tells of the requests that pass through it."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from facet.type.v1 import request_pb2
from services.common.tracing.context import Parent
from services.common.tracing.span import Span

log = structlog.get_logger(__name__)


class Hop(NamedTuple):
    """What one process did for one request."""

    context: request_pb2.RequestContext
    began: float
    """Seconds of time.monotonic, as `ended`."""
    ended: float
    fields: Mapping[str, str | int]
    """`error`, among them, is why it failed."""


class Batch(NamedTuple):
    """What one process did for several requests at once."""

    name: str
    began: float
    ended: float
    fields: Mapping[str, str | int]


class Tracer(Protocol):
    """Makes spans and delivers them."""

    def root(
        self, context: request_pb2.RequestContext, parent: Parent | None, method: str
    ) -> Span | None:
        """Return the span of a request that begins here; None where it is not to be traced."""

    def hop(self, name: str, hop: Hop) -> None:
        """Tell a span that is over, of a request that is traced."""

    def batch(self, name: str, batch: Batch, hops: Sequence[Hop]) -> None:
        """Tell a batch of traced requests, linked with the `name` of each of them."""

    async def close(self, within_s: float) -> None:
        """Deliver what there is, if that takes no longer."""


class Trail:
    """A line at level debug for each request, and a span where it is traced."""

    def __init__(self, tracer: Tracer | None = None, *, debug: bool = False) -> None:
        """`debug`: lines of that level are written at all."""
        self.tracer = tracer
        self.active = debug or tracer is not None
        """Somebody wants to know of some requests; `wants` tells of which."""
        self._debug = debug

    def wants(self, context: request_pb2.RequestContext) -> bool:
        """Somebody wants to know of this request: what there is to tell is worth gathering."""
        return self._debug or (self.tracer is not None and bool(context.traceparent))

    def hop(self, name: str, hop: Hop) -> None:
        """Tell what was done for a request."""
        if self._debug:
            self._write(name, hop)
        if self.tracer is not None and hop.context.traceparent:
            self.tracer.hop(name, hop)

    def batch(self, name: str, batch: Batch, hops: Sequence[Hop]) -> None:
        """Tell what was done for several requests at once: `name` of each, and the batch."""
        if self._debug:
            for hop in hops:
                self._write(name, hop)
        if self.tracer is not None and (traced := [h for h in hops if h.context.traceparent]):
            self.tracer.batch(name, batch, traced)

    async def close(self, within_s: float) -> None:
        """Deliver what there is, if that takes no longer."""
        if self.tracer is not None:
            await self.tracer.close(within_s)

    def _write(self, name: str, hop: Hop) -> None:
        ms = milliseconds(hop.ended - hop.began)
        log.debug(name, request_id=hop.context.request_id, ms=ms, **hop.fields)


def milliseconds(seconds: float) -> float:
    """Return a duration as lines of logs have it."""
    return round(1e3 * seconds, 3)


SILENT: Final = Trail()
"""Tells nothing."""
