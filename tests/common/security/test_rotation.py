"""Certificates change under a server that runs: new connections have the new ones."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import structlog
from structlog.typing import EventDict

from services.common.http2.channel import Channel
from services.common.security.authority import issue, make_authority
from services.common.security.credentials import Credentials
from services.common.security.files import TlsFiles
from services.common.security.upkeep import keep_fresh
from tests.common.http2.ends import Methods
from tests.common.http2.test_calls import failure
from tests.common.security.conftest import credentials, make_lab_in, serving
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")

SCHEDULER = "spiffe://facet/scheduler"


@asynccontextmanager
async def followed(*each: Credentials) -> AsyncIterator[None]:
    """Their files are watched for the time of the block."""
    following = asyncio.create_task(keep_fresh(each))
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def say(address: str, own: Credentials) -> bytes:
    """Call on a new connection."""
    async with Channel(address, own.to(SCHEDULER)) as channel:
        answer: bytes = await Methods(channel).say(b"hello")
        return answer


async def test_an_authority_takes_the_place_of_another_without_a_restart(tmp_path: Path) -> None:
    old, new, own = tmp_path / "old", tmp_path / "new", tmp_path / "own"
    make_lab_in(old)
    make_lab_in(new)
    shutil.copytree(old, own)
    server = credentials(own, "scheduler")
    both = (old / "ca.pem").read_bytes() + (new / "ca.pem").read_bytes()
    (tmp_path / "both.pem").write_bytes(both)
    old_client, new_client = (
        Credentials(
            TlsFiles(folder / "gateway.pem", folder / "gateway-key.pem", tmp_path / "both.pem"),
            mutual=True,
        )
        for folder in (old, new)
    )
    async with (
        serving(server) as address,
        followed(server),
        Channel(address, old_client.to(SCHEDULER)) as kept,
    ):
        assert await Methods(kept).say(b"1") == b"1"
        error = await failure(_first(address, new_client))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        before = server.facts
        (own / "ca.pem").write_bytes(both)  # both are trusted,
        await until(lambda: server.facts is not before)
        assert await say(address, new_client) == b"hello"
        assert await say(address, old_client) == b"hello"
        before = server.facts
        for name in ("scheduler.pem", "scheduler-key.pem", "ca.pem"):  # then the new one alone
            (own / name).write_bytes((new / name).read_bytes())
        await until(lambda: server.facts is not before)
        assert await say(address, new_client) == b"hello"
        error = await failure(_first(address, old_client))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert await Methods(kept).say(b"2") == b"2"  # it began in time


def _first(address: str, own: Credentials) -> "asyncio.Task[bytes]":
    return asyncio.create_task(say(address, own))


async def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    make_lab_in(tmp_path)
    server, client = credentials(tmp_path, "scheduler"), credentials(tmp_path, "gateway")
    good = (tmp_path / "scheduler.pem").read_bytes()
    with structlog.testing.capture_logs() as logs:
        async with serving(server) as address, followed(server):
            (tmp_path / "scheduler.pem").write_text("torn")
            await until(lambda: "what was read before still counts" in _events(logs))
            assert await say(address, client) == b"hello"
            # Another's is no better: nobody would believe it.
            (tmp_path / "scheduler.pem").write_bytes((tmp_path / "gateway.pem").read_bytes())
            await until(lambda: "spiffe://facet/gateway" in str(logs))
            assert await say(address, client) == b"hello"
            (tmp_path / "scheduler.pem").write_bytes(good)
            await until(lambda: "certificates were read again" in _events(logs))
            assert await say(address, client) == b"hello"


async def test_links_that_are_put_in_anothers_place_as_kubernetes_does(tmp_path: Path) -> None:
    for name in ("first", "second"):
        make_lab_in(tmp_path / name)
    (tmp_path / "..data").symlink_to("first")
    for name in ("scheduler.pem", "scheduler-key.pem", "ca.pem"):
        (tmp_path / name).symlink_to(Path("..data", name))
    server = credentials(tmp_path, "scheduler")
    before = server.facts
    async with serving(server) as address, followed(server):
        (tmp_path / "..new").symlink_to("second")
        (tmp_path / "..new").replace(tmp_path / "..data")
        await until(lambda: server.facts is not before)
        assert await say(address, credentials(tmp_path / "second", "gateway")) == b"hello"


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, "the certificate has expired"), (5, "the certificate expires soon"), (30, "")],
)
async def test_what_will_have_expired_soon_is_told(tmp_path: Path, days: int, said: str) -> None:
    make_authority(tmp_path, "facet")
    issue(tmp_path, "gateway", "facet", days=days)
    with structlog.testing.capture_logs() as logs:
        credentials(tmp_path, "gateway").warn_of_expiry()
    assert _events(logs).startswith(said)
    assert bool(logs) == bool(said)


def _events(logs: list[EventDict]) -> str:
    return "; ".join(str(line["event"]) for line in logs)
