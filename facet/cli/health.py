"""`facet health`: does the process at an address serve? What a container's HEALTHCHECK runs.

It runs every few seconds beside each service, so it imports nothing that it does not need.
"""

import os
from typing import Annotated, Any, Final

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import InvalidRequestError, UnavailableError

WITHIN_S: Final = 4.0
"""A process that does not answer by then is not healthy."""
LOOPBACK: Final = "127.0.0.1"
DEFAULT_PORT: Final = "50051"


def health(
    address: Annotated[
        str,
        typer.Argument(
            metavar="[HOST:PORT]",
            help="The process to ask; default: FACET_HEALTH_PORT, else FACET_PORT, on loopback.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Exit with 0 when a process says that it serves (grpc.health.v1), else with 1 and why."""
    check(address or own_address())


def own_address() -> str:
    """Return where the process that has this environment answers for its health.

    Raises InvalidRequestError where the environment does not tell.
    """
    port = os.environ.get("FACET_HEALTH_PORT", "0")
    if port in ("", "0"):
        port = os.environ.get("FACET_PORT") or DEFAULT_PORT
    if port == "0":
        raise InvalidRequestError(
            "FACET_PORT is 0, any free port: set FACET_HEALTH_PORT, or say facet health HOST:PORT"
        )
    return f"{LOOPBACK}:{port}"


def check(address: str) -> None:
    """Return when the process at host:port serves; raises UnavailableError with the reason."""
    # A proxy of the environment is no way to a neighbour.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN_S)
        except grpc.RpcError as error:
            raise UnavailableError(
                f"no healthy process at {address}: {error.code().name}, {error.details()}"
            ) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        raise UnavailableError(f"the process at {address} says {status}")
