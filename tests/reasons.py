"""The machine-readable reason that every error carries."""

from typing import cast

import grpc
from grpc_status import rpc_status

from google.rpc import error_details_pb2, status_pb2


def reason_of(status: status_pb2.Status) -> str:
    """Return the reason of a status; fails unless it has one of ours."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details), status
    assert info.domain == "facet.dev"
    return str(info.reason)


def reason_of_call(error: grpc.RpcError) -> str:
    """Return the reason of a failed call."""
    status = rpc_status.from_call(cast(grpc.Call, error))  # both, at run time
    assert status is not None, error
    return reason_of(status)
