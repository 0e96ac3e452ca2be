"""What a process does around its calls: each is admitted, begun and ended once, or refused."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar

import grpc
import pytest

from services.common.http2.channel import Channel
from services.common.http2.interceptor import Interceptor
from services.common.http2.server import Server
from services.common.http2.server_call import ServerCall
from services.common.http2.status import AbortedError
from tests.common.http2.ends import Context, Echo, Methods, our_server, their_channel
from tests.common.http2.test_calls import drain, failure
from tests.common.http2.test_endings import Silent
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


class Recorder(Interceptor):
    """Writes down what it is told, and refuses those who say so."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.codes: list[grpc.StatusCode] = []

    def admit(self, call: ServerCall) -> None:
        self._tell("admit", call)
        if dict(call.invocation_metadata()).get("word") == "refuse":
            raise AbortedError(grpc.StatusCode.PERMISSION_DENIED, "not you", (("why", "word"),))

    def began(self, call: ServerCall) -> None:
        self._tell("began", call)
        CALLER.set("somebody")

    def ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        self._tell("ended", call)
        self.codes.append(code)

    def _tell(self, what: str, call: ServerCall) -> None:
        self.told.append((what, call.path.rpartition("/")[2]))


class Named(Echo):
    """Says who calls."""

    async def say(self, request: bytes, context: Context) -> bytes:
        """Say what an interceptor left in the context."""
        return CALLER.get().encode()


class Watched:
    """A server with a recorder, and a channel to it."""

    def __init__(self, server: Server, echo: Echo, recorder: Recorder, call: Methods) -> None:
        self.server = server
        self.echo = echo
        self.recorder = recorder
        self.call = call


@pytest.fixture(params=["ours", "theirs"])
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    echo, recorder = Named(), Recorder()
    async with our_server(echo, interceptors=(recorder,)) as (server, address):
        channel = Channel(address) if request.param == "ours" else their_channel(address)
        async with channel:
            yield Watched(server, echo, recorder, Methods(channel))


async def test_a_call_is_admitted_begun_and_ended(watched: Watched) -> None:
    assert await watched.call.say(b"") == b"somebody"
    assert watched.recorder.told == [("admit", "Say"), ("began", "Say"), ("ended", "Say")]
    assert watched.recorder.codes == [grpc.StatusCode.OK]
    assert CALLER.get() == "nobody"


async def test_a_call_that_is_refused_never_reaches_its_handler(watched: Watched) -> None:
    metadata = (("word", "refuse"),)
    error = await failure(watched.call.wait(b"x" * 5_000_000, metadata=metadata))
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")
    assert ("why", "word") in tuple(error.trailing_metadata())
    assert watched.echo.running == 0
    assert watched.recorder.told == [("admit", "Wait"), ("ended", "Wait")]
    assert watched.recorder.codes == [grpc.StatusCode.PERMISSION_DENIED]
    assert await watched.call.say(b"") == b"somebody"  # the connection is as good as before


async def test_a_stream_that_is_refused(watched: Watched) -> None:
    # A stream of grpcio that is refused while it writes ends as INTERNAL there now and then.
    with Silent() as silent:
        error = await failure(drain(watched.call.talk(silent, metadata=(("word", "refuse"),))))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert watched.recorder.told == [("admit", "Talk"), ("ended", "Talk")]


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("fail", grpc.StatusCode.UNKNOWN),
        ("abort", grpc.StatusCode.NOT_FOUND),
        ("repeat", grpc.StatusCode.OK),
    ],
)
async def test_the_code_is_the_one_that_the_caller_sees(
    watched: Watched, method: str, code: grpc.StatusCode
) -> None:
    call = getattr(watched.call, method)(b"")
    await (drain(call) if code is grpc.StatusCode.OK else failure(call))
    await until(lambda: watched.recorder.codes == [code])


async def test_a_call_that_its_caller_leaves_has_ended_once(watched: Watched) -> None:
    call = watched.call.wait(b"")
    waiting = asyncio.ensure_future(call)
    await until(lambda: watched.echo.running == 1)
    call.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: watched.echo.cancelled == 1)
    assert watched.recorder.codes == [grpc.StatusCode.CANCELLED]


async def test_an_unknown_method_is_nobodys(watched: Watched) -> None:
    error = await failure(watched.call.missing(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert watched.recorder.told == []
