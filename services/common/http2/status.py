"""How answers begin and end: their first headers, and their trailers. Pure."""

from collections.abc import Iterable
from typing import Final

import grpc

from services.common.http2.headers import encode_message, encode_metadata, header_block
from services.common.http2.messages import ACCEPTED

OPENING: Final = header_block(
    (
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", ACCEPTED.encode()),
    )
)
"""The headers before the first response."""
OK: Final = header_block(((b"grpc-status", b"0"),))
"""The trailers of a call that went well."""
MAX_DETAILS: Final = 2_000
"""Letters of what is told of an error: clients take no more than some kilobytes of headers."""


class AbortedError(Exception):
    """The handler ended the call with a status."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing: Iterable[tuple[str, str | bytes]]
    ) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailing = trailing


def trailers(
    code: grpc.StatusCode, details: str, trailing: Iterable[tuple[str, str | bytes]]
) -> bytes:
    """Return a status, its text and metadata as a block of headers."""
    if code is grpc.StatusCode.OK and not details and not trailing:
        return OK
    status = [(b"grpc-status", b"%d" % code.value[0])]
    if details:
        status.append((b"grpc-message", encode_message(details[:MAX_DETAILS])))
    return header_block([*status, *encode_metadata(trailing)])
