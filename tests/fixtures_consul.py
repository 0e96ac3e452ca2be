"""A real Consul server for tests: import the fixtures where they are needed.

from tests.fixtures_consul import consul_server, consul_url, shared_consul  # noqa: F401
"""

import itertools
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.tools import find_tool

START_S = 30.0
STOP_S = 10.0


class ConsulServer:
    """One `consul agent -dev`; it keeps its ports from one start to the next, but no data."""

    def __init__(self, binary: Path, folder: Path, config: str = "") -> None:
        """Prepare a server with more configuration, in HCL; `folder` must exist."""
        self._folder = folder
        self._config = folder / "config.hcl"
        self._config.write_text(f"disable_update_check = true\n{config}")
        self._process: subprocess.Popen[bytes] | None = None
        http, serf, rpc = (free_port() for _ in range(3))
        self.address = f"127.0.0.1:{http}"
        self._command = [
            *(str(binary), "agent", "-dev", "-node=test", "-log-level=warn"),
            *("-bind=127.0.0.1", "-client=127.0.0.1", f"-http-port={http}"),
            *("-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1", "-serf-wan-port=-1"),
            *(f"-serf-lan-port={serf}", f"-server-port={rpc}"),
            f"-config-file={self._config}",
        ]

    def url(self, prefix: str = "facet") -> str:
        """Return the URL of a registry there."""
        return f"consul://{self.address}/{prefix}"

    def start(self) -> None:
        """Start it and wait until it can be used."""
        assert self._process is None
        with (self._folder / "consul.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )
        deadline = time.monotonic() + START_S
        while not self._has_leader():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                text = (self._folder / "consul.log").read_text(errors="replace")
                pytest.fail(f"consul does not start:\n{text[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it; everything it knew is lost."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a machine that loses power does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: it accepts connections and never answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _has_leader(self) -> bool:
        # Without the environment's proxies.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.address}/v1/status/leader", timeout=1) as answer:
                return bool(answer.read().strip(b'"\n'))
        except OSError:
            return False


@pytest.fixture(scope="session")
def consul_binary() -> Path:
    """The Consul to run; skips, or fails where FACET_REQUIRE names consul, without one."""
    binary = find_tool("consul")
    if binary is None:
        # Here, since tests/conftest.py imports this module.
        from tests.conftest import need

        need("consul", "there is no consul binary; `make consul` builds one")
    assert binary is not None
    return binary


@pytest.fixture(scope="session")
def shared_consul(
    consul_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsulServer]:
    """A running server for the whole session; tests must not stop it."""
    server = ConsulServer(consul_binary, tmp_path_factory.mktemp("consul"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def consul_url(shared_consul: ConsulServer, request: pytest.FixtureRequest) -> str:
    """The URL of an empty registry of the test's own on the shared server."""
    numbers = request.config.stash.setdefault(_NUMBERS, itertools.count())
    return shared_consul.url(f"test-{next(numbers)}")


@pytest.fixture
def consul_server(consul_binary: Path, tmp_path: Path) -> Iterator[ConsulServer]:
    """A running server of the test's own, which it may stop, start, pause and kill."""
    folder = tmp_path / "consul"
    folder.mkdir()
    server = ConsulServer(consul_binary, folder)
    server.start()
    yield server
    server.stop()


_NUMBERS = pytest.StashKey["itertools.count[int]"]()
