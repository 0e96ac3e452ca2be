"""A laboratory's certificates, and a server that asks for them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from services.common.http2.interceptor import Interceptor
from services.common.http2.server import Server
from services.common.security.authority import issue, make_authority
from services.common.security.credentials import Credentials
from services.common.security.files import files_in
from tests.common.http2.ends import SERVICE, Echo
from tests.leaks import no_task_left  # noqa: F401

DOMAIN = "facet"
NAMES = ("gateway", "scheduler", "inference", "operator")

Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority and some certificates; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("lab")
    make_lab_in(folder)
    return folder


def make_lab_in(folder: Path) -> None:
    """Make an authority and some certificates."""
    make_authority(folder, DOMAIN)
    for name in NAMES:
        issue(folder, name, DOMAIN, hosts=("localhost", "127.0.0.1"))


def credentials(folder: Path, name: str, *, mutual: bool = True) -> Credentials:
    """The credentials of a service by its files in a folder."""
    return Credentials(files_in(folder, name), f"spiffe://{DOMAIN}/{name}", mutual=mutual)


@asynccontextmanager
async def serving(
    own: Credentials, echo: Echo | None = None, interceptors: Sequence[Interceptor] = ()
) -> AsyncIterator[str]:
    """A server with a certificate; yields its address."""
    server = Server(tls=own.server_context)
    server.guard(interceptors)
    server.add_registered_method_handlers(SERVICE, (echo or Echo()).handlers)
    port = server.listen("127.0.0.1", 0)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
