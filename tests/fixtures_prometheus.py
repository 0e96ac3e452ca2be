"""A real Prometheus for tests: import the fixtures where they are needed.

from tests.fixtures_prometheus import prometheus_binary, promtool  # noqa: F401
"""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.ports import free_port

PATIENCE_S = 30.0
LOOK_S = 0.2


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        query = urllib.parse.urlencode(parameters)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._url}{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression at this moment."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the only value of an expression; None while there is none."""
        series = self.query(expression)
        assert len(series) <= 1, series
        return float(series[0]["value"][1]) if series else None

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until it holds; fails when it never does."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"never came: {what}"
            threading.Event().wait(LOOK_S)  # of a query nobody is told that it has changed


@contextmanager
def run_prometheus(binary: Path, folder: Path, config: str) -> Iterator[Prometheus]:
    """Run a server whose files are all in a folder; it answers when it is yielded."""
    port = free_port()
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(binary), f"--config.file={folder}/prometheus.yml"),
                *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"),
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    server = Prometheus(port)

    def answers() -> bool:
        said = (folder / "prometheus.log").read_text(errors="replace")
        assert process.poll() is None, f"prometheus does not start:\n{said[-2000:]}"
        try:
            return bool(server.get("/api/v1/status/config"))
        except OSError:
            return False

    try:
        server.wait_for(answers, "an answer of prometheus")
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """The Prometheus to run; skips, or fails where FACET_REQUIRE names prometheus, without one."""
    return _tool("prometheus")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The program that checks its files; as above."""
    return _tool("promtool")


def _tool(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        need("prometheus", f"there is no {name} on the PATH; Debian has it in `prometheus`")
    assert found is not None
    return Path(found)
