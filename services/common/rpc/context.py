"""The context of a call that is being served."""

from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc_status import rpc_status

from services.common.errors import FacetError
from services.common.statuses import to_status

if TYPE_CHECKING:  # generic in its type stubs, not at run time
    ServicerContext = grpc.aio.ServicerContext[Any, Any]
else:
    ServicerContext = grpc.aio.ServicerContext


async def abort(context: ServicerContext, error: FacetError) -> NoReturn:
    """End the call with the error's status and its google.rpc details."""
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort always raises")
