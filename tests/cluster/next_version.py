"""The next version of a service: `python -m tests.cluster.next_version MODULE`.

It is this version, but every message that it sends, as a client and as a server, ends with a field
that this version does not know; so does what a later version sends that has got new fields.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import grpc

from services.common.http2.channel import Channel, MultiCallable

UNKNOWN_FIELD: Final = b"\xc2\x3e\x04next"
"""Field 1000, four bytes long."""

Serializer = Callable[[Any], bytes]


def newer(serialize: Serializer) -> Serializer:
    """Return what serialises a message as a later version does."""
    return lambda message: serialize(message) + UNKNOWN_FIELD


def newer_callable(make: Callable[..., MultiCallable]) -> Callable[..., MultiCallable]:
    """Return what makes the callables of a channel whose requests are newer."""

    def callable_(*given: Any, request_serializer: Serializer, **named: Any) -> MultiCallable:
        return make(*given, request_serializer=newer(request_serializer), **named)

    return callable_


def newer_handler(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes handlers whose responses are newer."""

    def handler(method: Any, *, response_serializer: Serializer, **named: Any) -> Any:
        return make(method, response_serializer=newer(response_serializer), **named)

    return handler


def main(module: str) -> None:
    """Run a service until SIGTERM."""
    kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    handlers: dict[str, Any] = {
        name: newer_handler(getattr(grpc, name))
        for name in (f"{kind}_rpc_method_handler" for kind in kinds)
    }
    with (
        patch.multiple(grpc, **handlers),
        patch.object(Channel, "_callable", newer_callable(Channel._callable)),
    ):
        importlib.import_module(f"{module}.__main__").main()


if __name__ == "__main__":
    main(sys.argv[1])
