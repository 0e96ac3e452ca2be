"""A snapshot of Consul, as docs/operations.md tells to take and restore it."""

import subprocess
from pathlib import Path

from services.common.registry import open_registry
from tests.fixtures_consul import ConsulServer


def snapshot(binary: Path, server: ConsulServer, action: str, file: Path) -> None:
    subprocess.run(
        [binary, "snapshot", action, f"-http-addr=http://{server.address}", file],
        check=True,
        capture_output=True,
        timeout=30,
    )


async def test_a_snapshot_brings_back_what_a_consul_lost(
    consul_binary: Path, consul_server: ConsulServer, tmp_path: Path
) -> None:
    registry = open_registry(consul_server.url())
    try:
        await registry.put("setting", b"kept")
        snapshot(consul_binary, consul_server, "save", tmp_path / "consul.snap")
        consul_server.stop()
        consul_server.start()
        assert await registry.get("setting") is None
        snapshot(consul_binary, consul_server, "restore", tmp_path / "consul.snap")
        assert await registry.get("setting") == b"kept"
    finally:
        await registry.close()
