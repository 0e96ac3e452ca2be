"""Every call is named, however it ends, and its handler knows the name."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog

from services.common.http2.interceptor import Interceptor
from services.common.http2.server_call import ServerCall
from services.common.http2.status import AbortedError
from services.common.tracing.interceptor import RequestInterceptor
from services.common.tracing.requests import Requests
from services.common.tracing.span import CURRENT, NOBODY
from services.common.tracing.trail import SILENT
from tests.common.http2.ends import Context, Echo, Methods, our_server, their_channel
from tests.common.http2.test_calls import drain, failure
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")


class Doorman(Interceptor):
    """Refuses those who say so."""

    def admit(self, call: ServerCall) -> None:
        if dict(call.invocation_metadata()).get("word") == "refuse":
            raise AbortedError(grpc.StatusCode.PERMISSION_DENIED, "not you", (("why", "word"),))


class Named(Echo):
    """Says how the request is called."""

    async def say(self, request: bytes, context: Context) -> bytes:
        """Say the id that the handler knows."""
        return CURRENT.get().context.request_id.encode()


@pytest.fixture
def names() -> RequestInterceptor:
    return RequestInterceptor(Requests(SILENT))


@pytest.fixture
async def methods(names: RequestInterceptor) -> AsyncIterator[Methods]:
    async with (
        our_server(Named(), interceptors=(names, Doorman())) as (_, address),
        their_channel(address) as channel,
    ):
        yield Methods(channel)


async def told(call: Any) -> str:
    """The id that the caller is told at the end."""
    return str(dict(await call.trailing_metadata())["x-request-id"])


async def test_the_callers_own_name_is_kept(methods: Methods) -> None:
    call = methods.say(b"", metadata=(("x-request-id", "mine-1"),))
    assert await call == b"mine-1"
    assert await told(call) == "mine-1"
    assert CURRENT.get() is NOBODY


async def test_a_request_without_a_name_gets_one(methods: Methods) -> None:
    calls = [methods.say(b"") for _ in range(2)]
    ids = [(await call).decode() for call in calls]
    assert ids == [await told(call) for call in calls]
    assert len(set(ids)) == 2


async def test_streams_and_failures_are_named_as_well(methods: Methods) -> None:
    metadata = (("x-request-id", "mine-2"),)
    call = methods.repeat(b"ab", metadata=metadata)
    await drain(call)
    assert await told(call) == "mine-2"
    for method in (methods.fail, methods.abort):
        error = await failure(method(b"", metadata=metadata))
        assert ("x-request-id", "mine-2") in tuple(error.trailing_metadata())


async def test_one_that_is_refused_at_the_door_is_named(
    methods: Methods, names: RequestInterceptor
) -> None:
    metadata = (("x-request-id", "mine-3"), ("word", "refuse"))
    with structlog.testing.capture_logs() as lines:
        error = await failure(methods.say(b"", metadata=metadata))
    trailing = tuple(error.trailing_metadata())
    assert {("x-request-id", "mine-3"), ("why", "word")} <= set(trailing)
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("request failed", "warning")
    assert (line["request_id"], line["code"]) == ("mine-3", "PERMISSION_DENIED")
    await until(lambda: not names._spans)
