"""Links between two processes: each shows who it is, and speaks with nobody else."""

import asyncio
import ssl
from pathlib import Path

import grpc
import pytest

from services.common.http2.channel import Channel
from services.common.http2.server import Server
from services.common.security.authority import issue, make_authority
from services.common.security.credentials import Credentials
from services.common.security.files import TlsFiles, files_in
from tests.common.http2.ends import SERVICE, Echo, Methods
from tests.common.http2.test_calls import drain, failure
from tests.common.security.conftest import credentials, serving
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")

SCHEDULER = "spiffe://facet/scheduler"


async def test_calls_of_all_kinds_and_sizes(lab: Path) -> None:
    big = bytes(range(256)) * 20_000
    async with (
        serving(credentials(lab, "scheduler")) as address,
        Channel(address, credentials(lab, "gateway").to(SCHEDULER)) as channel,
    ):
        call = Methods(channel)
        assert await call.say(b"hello") == b"hello"
        assert await call.say(big) == big
        assert await drain(call.repeat(big)) == [big] * 3
        assert await asyncio.gather(*(call.say(b"%d" % i) for i in range(100))) == [
            b"%d" % i for i in range(100)
        ]


async def test_another_service_with_a_good_certificate_is_not_the_one_that_was_called(
    lab: Path,
) -> None:
    async with (
        serving(credentials(lab, "inference")) as address,
        Channel(address, credentials(lab, "gateway").to(SCHEDULER)) as channel,
    ):
        error = await failure(Methods(channel).say(b""))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "that of spiffe://facet/inference, not spiffe://facet/scheduler" in str(error.details())


async def test_a_server_of_another_authority_is_not_believed(lab: Path, tmp_path: Path) -> None:
    make_authority(tmp_path, "facet")
    issue(tmp_path, "scheduler", "facet")
    async with (
        serving(credentials(tmp_path, "scheduler")) as address,
        Channel(address, credentials(lab, "gateway").to(SCHEDULER)) as channel,
    ):
        error = await failure(Methods(channel).say(b""))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "certificate verify failed" in str(error.details())


async def test_a_client_of_another_authority_is_refused(lab: Path, tmp_path: Path) -> None:
    make_authority(tmp_path, "facet")
    stranger = credentials_that_trust(lab, tmp_path)
    echo = Echo()
    async with (
        serving(credentials(lab, "scheduler"), echo) as address,
        Channel(address, stranger.to(SCHEDULER)) as channel,
    ):
        error = await failure(Methods(channel).say(b""))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert not echo.received


def credentials_that_trust(lab: Path, folder: Path) -> Credentials:
    """A gateway's certificate by another authority, which itself trusts the laboratory."""
    own = issue(folder, "gateway", "facet")
    return Credentials(TlsFiles(own.certificate, own.key, lab / "ca.pem"), mutual=True)


async def test_an_expired_client_is_refused(lab: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "ca-key.pem"):
        (tmp_path / name).write_bytes((lab / name).read_bytes())
    issue(tmp_path, "gateway", "facet", days=-1)
    async with (
        serving(credentials(lab, "scheduler")) as address,
        Channel(address, credentials(tmp_path, "gateway").to(SCHEDULER)) as channel,
    ):
        error = await failure(Methods(channel).say(b""))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_plain_text_is_refused(lab: Path) -> None:
    async with serving(credentials(lab, "scheduler")) as address, Channel(address) as channel:
        error = await failure(Methods(channel).say(b""))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_of_a_former_time_is_refused_inside_the_cluster(lab: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(lab / "ca.pem")
    files = files_in(lab, "gateway")
    context.load_cert_chain(files.certificate, files.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for name, mutual in (("scheduler", True), ("gateway", False)):
        async with serving(credentials(lab, name, mutual=mutual)) as address:
            host, port = address.split(":")
            opening = asyncio.open_connection(host, int(port), ssl=context)
            if mutual:
                with pytest.raises(OSError):  # noqa: PT011  # an alert, or the end: it is refused
                    await opening
            else:
                _, writer = await opening
                writer.transport.abort()


async def test_the_public_door_asks_for_no_certificate(lab: Path) -> None:
    async with serving(credentials(lab, "gateway", mutual=False)) as address:
        trusted = grpc.ssl_channel_credentials((lab / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(address, trusted) as channel:
            assert await Methods(channel).say(b"hello") == b"hello"


async def test_a_server_that_stops_finishes_what_it_has_in_hand(lab: Path) -> None:
    echo = Echo()
    server = Server(tls=credentials(lab, "scheduler").server_context)
    server.add_registered_method_handlers(SERVICE, echo.handlers)
    port = server.listen("127.0.0.1", 0)
    await server.start()
    tls = credentials(lab, "gateway").to(SCHEDULER)
    async with Channel(f"127.0.0.1:{port}", tls) as channel:
        waiting = asyncio.ensure_future(Methods(channel).wait(b"x" * 3_000_000))
        await until(lambda: echo.running == 1)
        stopping = asyncio.create_task(server.stop(30))
        await until(lambda: server.stopping)
        echo.gate.set()
        assert await waiting == b"x" * 3_000_000
        await stopping
