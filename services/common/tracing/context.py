"""Ids of requests and of spans: what is sane, and how they are written. Pure."""

import random
import re
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

from facet.type.v1 import request_pb2

REQUEST_ID: Final = b"x-request-id"
"""Metadata by which a caller names its request, and is told how it is named."""
TRACEPARENT: Final = b"traceparent"
"""Metadata by which a caller says of which trace its request is a part."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:@/+=-]{1,128}")
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


def new_request_id() -> str:
    """Return 16 hexadecimal digits that hardly any other request has."""
    return f"{random.getrandbits(64):016x}"


def sane_request_id(given: bytes) -> str | None:
    """Return a caller's id; None where it is no name that one likes to find in logs."""
    return given.decode() if _REQUEST_ID.fullmatch(given) else None


class Parent(NamedTuple):
    """The span that another one is a part of: W3C Trace Context."""

    trace_id: int
    span_id: int
    sampled: bool

    @classmethod
    def read(cls, traceparent: str) -> Self | None:
        """Return what a traceparent says; None where it is none."""
        found = _TRACEPARENT.fullmatch(traceparent)
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == "ff" or (version == "00" and more):
            return None
        parent = cls(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
        return parent if parent.trace_id and parent.span_id else None

    def write(self) -> str:
        """Return it as a traceparent."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def of_requests(contexts: Iterable[request_pb2.RequestContext]) -> dict[str, object]:
    """Return the fields of a line of a log that concerns these requests, each named once."""
    ids = list(dict.fromkeys(context.request_id for context in contexts if context.request_id))
    if not ids:
        return {}
    return {"request_id": ids[0]} if len(ids) == 1 else {"request_ids": ids}
