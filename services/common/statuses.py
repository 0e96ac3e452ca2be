"""Domain errors ⇄ gRPC statuses, in one table.

Every status carries a google.rpc.ErrorInfo (the reason), a google.rpc.RetryInfo where another
try is worth it, and a google.rpc.RequestInfo where a whole request failed: see
https://google.aip.dev/193.
"""

import math
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2

from google.rpc import code_pb2, error_details_pb2, status_pb2
from services.common.errors import (
    ConfigurationError,
    DeadlineExceededError,
    DrainingError,
    FacetError,
    ForbiddenError,
    ImageError,
    InternalError,
    InvalidRequestError,
    LinkLostError,
    ModelNotFoundError,
    ModelRefusedError,
    NotLeaderError,
    OverloadedError,
    RegistryError,
    UnauthenticatedError,
    UnavailableError,
)

DOMAIN: Final = "facet.dev"

STATUS_CODES: Final[dict[type[FacetError], grpc.StatusCode]] = {
    FacetError: grpc.StatusCode.INTERNAL,
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    ModelNotFoundError: grpc.StatusCode.NOT_FOUND,
    ImageError: grpc.StatusCode.INVALID_ARGUMENT,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    LinkLostError: grpc.StatusCode.UNAVAILABLE,
    DrainingError: grpc.StatusCode.UNAVAILABLE,
    NotLeaderError: grpc.StatusCode.FAILED_PRECONDITION,
    ModelRefusedError: grpc.StatusCode.FAILED_PRECONDITION,
    RegistryError: grpc.StatusCode.UNAVAILABLE,
    ConfigurationError: grpc.StatusCode.FAILED_PRECONDITION,
    InternalError: grpc.StatusCode.INTERNAL,
}

# A status says less than an error; the reason finds the class again.
_BY_REASON: Final[dict[str, type[FacetError]]] = {
    "IMAGE_CORRUPT": ImageError,
    "IMAGE_TOO_LARGE": ImageError,
    "IMAGE_EMPTY": ImageError,
    "UNSUPPORTED_FORMAT": ImageError,
    "DECODER_CRASHED": ImageError,
    "LINK_LOST": LinkLostError,
    "DRAINING": DrainingError,
    "REGISTRY_UNREACHABLE": RegistryError,
    "REGISTRY_REFUSED": RegistryError,
    "MODEL_REFUSED": ModelRefusedError,
    "INVALID_SETTING": ConfigurationError,
}
_BY_CODE: Final[dict[int, type[FacetError]]] = {
    code_pb2.INVALID_ARGUMENT: InvalidRequestError,
    code_pb2.NOT_FOUND: ModelNotFoundError,
    code_pb2.UNAUTHENTICATED: UnauthenticatedError,
    code_pb2.PERMISSION_DENIED: ForbiddenError,
    code_pb2.DEADLINE_EXCEEDED: DeadlineExceededError,
    code_pb2.RESOURCE_EXHAUSTED: OverloadedError,
    code_pb2.UNAVAILABLE: UnavailableError,
    code_pb2.FAILED_PRECONDITION: NotLeaderError,
}


def status_code(error: FacetError) -> grpc.StatusCode:
    """Return the gRPC code of a domain error."""
    return STATUS_CODES[type(error)]


def to_status(error: FacetError, request_id: str = "") -> status_pb2.Status:
    """Return the error as a google.rpc.Status with its details.

    `request_id` is that of the request that failed as a whole, for its caller.
    """
    status = status_pb2.Status(code=status_code(error).value[0], message=error.message)
    status.details.append(_pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)))
    if isinstance(error, OverloadedError):
        delay = duration_pb2.Duration(nanos=0)
        delay.FromNanoseconds(math.ceil(error.retry_after_s * 1e9))
        status.details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    if request_id:
        status.details.append(_pack(error_details_pb2.RequestInfo(request_id=request_id)))
    return status


def from_status(status: status_pb2.Status) -> FacetError:
    """Return the domain error that a google.rpc.Status stands for."""
    reason, retry_after_s = None, None
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    kind = _BY_REASON.get(reason or "") or _BY_CODE.get(status.code, InternalError)
    if issubclass(kind, OverloadedError) and retry_after_s is not None:
        return kind(status.message, reason=reason, retry_after_s=retry_after_s)
    return kind(status.message, reason=reason)


def _pack(
    message: error_details_pb2.ErrorInfo
    | error_details_pb2.RetryInfo
    | error_details_pb2.RequestInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
