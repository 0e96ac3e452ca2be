"""A channel to a gateway, and its errors as domain errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
from grpc_status import rpc_status

from facet.client.credentials import find_api_key, key_interceptors
from services.common.errors import FacetError, UnavailableError
from services.common.statuses import from_status

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # How long connecting may take at least: a SYN that was lost comes again after a second.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


def connect(gateway: str, api_key_file: Path | None = None) -> grpc.aio.Channel:
    """Return a channel to a gateway at host:port. Nothing is sent before the first call.

    Every call has the API key of the file, or of the environment (see `find_api_key`).
    """
    interceptors = key_interceptors(find_api_key(api_key_file))
    return grpc.aio.insecure_channel(gateway, options=_OPTIONS, interceptors=interceptors)


@contextmanager
def domain_errors(gateway: str) -> Iterator[None]:
    """Raise the domain error that a failed call stands for.

    UnavailableError with reason UNREACHABLE when there is no gateway at that address.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise domain_error(gateway, error) from None


def domain_error(gateway: str, error: grpc.aio.AioRpcError) -> FacetError:
    """Return the domain error that a failed call to a gateway stands for."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed: needs metadata
    if status is not None:
        return from_status(status)
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(f"no gateway answers at {gateway}", reason="UNREACHABLE")
    return FacetError(error.details() or error.code().name, reason=error.code().name)
