"""The context of a call that is being served."""

from typing import NoReturn, TypeAlias

from grpc_status import rpc_status

from services.common.errors import FacetError
from services.common.http2.server_call import ServerCall
from services.common.http2.status import AbortedError
from services.common.statuses import to_status
from services.common.tracing.span import CURRENT

ServicerContext: TypeAlias = ServerCall


async def abort(context: ServicerContext, error: FacetError) -> NoReturn:
    """End the call with the error's status and its google.rpc details."""
    raise refusal(error)


def refusal(error: FacetError) -> AbortedError:
    """Return what ends a call with the error's status and details, where an interceptor raises."""
    span = CURRENT.get()
    if request_id := span.context.request_id:
        span.fail(error)
    status = rpc_status.to_status(to_status(error, request_id))
    return AbortedError(status.code, status.details, status.trailing_metadata)
