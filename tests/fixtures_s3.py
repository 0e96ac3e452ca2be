"""A real S3 server for tests: import the fixtures where they are needed.

from tests.fixtures_s3 import s3_server, s3_url  # noqa: F401
"""

import itertools
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parent.parent
BUCKET: Final = "models"
STOP_S: Final = 10.0


class S3Server:
    """Listens when it is made, holding an empty bucket; keeps its content while it is stopped."""

    def __init__(self) -> None:
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.s3_server", str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.start()
        # Anybody may do anything there; without the environment's proxies.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self._address}/{BUCKET}", method="PUT")
        opener.open(request, timeout=STOP_S).close()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to find it, as botocore reads it."""
        return {
            "AWS_ENDPOINT_URL": self._address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Listen."""
        self._command("start")

    def stop(self) -> None:
        """Refuse connections."""
        self._command("stop")

    def pause(self) -> None:
        """Let it hang: it accepts connections and never answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self.resume()
        try:
            self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _command(self, command: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == command


@pytest.fixture(scope="session")
def shared_s3() -> Iterator[S3Server]:
    """A server for the whole session; whoever stops it starts it again."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3_server(shared_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, which this process finds by its environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in shared_s3.environment.items():
        monkeypatch.setenv(name, value)
    return shared_s3


@pytest.fixture
def s3_url(s3_server: S3Server, request: pytest.FixtureRequest) -> str:
    """The URL of an empty repository of the test's own."""
    numbers = request.config.stash.setdefault(_NUMBERS, itertools.count())
    return f"s3://{BUCKET}/test-{next(numbers)}"


_NUMBERS = pytest.StashKey["itertools.count[int]"]()
