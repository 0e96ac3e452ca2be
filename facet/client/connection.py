"""A channel to a gateway, and its errors as domain errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from grpc_status import rpc_status

from facet.client.credentials import find_api_key, key_interceptors
from services.common.errors import ConfigurationError, FacetError, UnavailableError
from services.common.statuses import from_status

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # How long connecting may take at least: a SYN that was lost comes again after a second.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where a gateway is, and how it is to be spoken to."""

    address: str
    """host:port; its certificate must name the host."""
    tls_ca: Path | None = None
    """PEM file of the authorities that may have signed its certificate; None: plain text."""
    tls_cert: Path | None = None
    """PEM file of the client's own certificate, which no gateway demands, with `tls_key`."""
    tls_key: Path | None = None
    api_key_file: Path | None = None
    """File with the API key; else it is that of the environment (see `find_api_key`)."""

    def __str__(self) -> str:
        return self.address


def connect(gateway: Gateway) -> grpc.aio.Channel:
    """Return a channel to a gateway. Nothing is sent before the first call.

    Raises ConfigurationError when its certificates or its key cannot be read.
    """
    interceptors = key_interceptors(find_api_key(gateway.api_key_file))
    if gateway.tls_ca is None and gateway.tls_cert is None and gateway.tls_key is None:
        return grpc.aio.insecure_channel(
            gateway.address, options=_OPTIONS, interceptors=interceptors
        )
    if gateway.tls_ca is None or (gateway.tls_cert is None) != (gateway.tls_key is None):
        raise ConfigurationError(
            "TLS needs --tls-ca; --tls-cert and --tls-key may come with it, both or none"
        )
    credentials = grpc.ssl_channel_credentials(
        _read(gateway.tls_ca), _read(gateway.tls_key), _read(gateway.tls_cert)
    )
    return grpc.aio.secure_channel(
        gateway.address, credentials, options=_OPTIONS, interceptors=interceptors
    )


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


@contextmanager
def domain_errors(gateway: Gateway) -> Iterator[None]:
    """Raise the domain error that a failed call stands for.

    UnavailableError with reason UNREACHABLE when there is no gateway at that address.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise domain_error(gateway, error) from None


def domain_error(gateway: Gateway, error: grpc.aio.AioRpcError) -> FacetError:
    """Return the domain error that a failed call to a gateway stands for."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed: needs metadata
    if status is not None:
        return from_status(status)
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        said = (error.details() or "").casefold()
        if "ssl" in said or "certificate" in said or "tls" in said:
            text = f"no TLS with the gateway at {gateway}: {error.details()}"
            return UnavailableError(text, reason="UNREACHABLE")
        return UnavailableError(f"no gateway answers at {gateway}", reason="UNREACHABLE")
    return FacetError(error.details() or error.code().name, reason=error.code().name)
