"""Consul on several hosts as it is meant to run: a server, and an agent on every other host."""

import json
import os
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.hosts.network import Host

READY_S: Final = 60.0
POLL_S: Final = 0.1
HTTP_PORT: Final = 8500
CONFIGURATION: Final = """
disable_update_check = true
# Of one server, an election has nobody to wait for.
performance { raft_multiplier = 1 }
# Else an agent that has lost the server answers from what it knew, for half a minute.
use_streaming_backend = false
ports { dns = -1, grpc = -1, grpc_tls = -1 }
"""


class Consul:
    """What is asked of the server from outside the hosts."""

    def __init__(self, address: str) -> None:
        self._address = address
        # The environment's proxies know nothing of these hosts.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Any:
        """Return what the server answers to GET, such as /v1/catalog/nodes."""
        url = f"http://{self._address}:{HTTP_PORT}{path}"
        with self._opener.open(url, timeout=5) as answer:
            return json.load(answer)

    def passing(self, service: str) -> set[str]:
        """Return the hosts on which a service passes all its checks, its host's included."""
        found = self.get(f"/v1/health/service/{service}?passing")
        return {entry["Node"]["Node"] for entry in found}

    def wait_for(self, hosts: int) -> None:
        """Wait until so many have joined, the server included."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                if len(self.get("/v1/catalog/nodes")) >= hosts:
                    return
            except OSError:
                pass  # it has not begun, or has no leader yet
            if time.monotonic() > deadline:
                raise RuntimeError(f"Consul did not come up on {hosts} hosts in {READY_S:g} s")
            time.sleep(POLL_S)


def start_consul(binary: Path, server: Host, agents: Mapping[str, Host], folder: Path) -> Consul:
    """Start the server and the agents; ready when all hosts know each other."""
    (folder / "consul.hcl").write_text(CONFIGURATION)
    serving = ("-server", "-bootstrap-expect=1", "-client=0.0.0.0")
    joining = ("-client=127.0.0.1", f"-retry-join={server.address}", "-retry-interval=1s")
    _start(binary, server, folder, serving)
    for host in agents.values():
        _start(binary, host, folder, joining)
    consul = Consul(server.address)
    consul.wait_for(1 + len(agents))
    return consul


def _start(binary: Path, host: Host, folder: Path, options: tuple[str, ...]) -> None:
    with (folder / f"consul-{host.name}.log").open("wb") as log:
        host.start(
            [
                *(str(binary), "agent", f"-node={host.name}", f"-bind={host.address}", *options),
                *(f"-data-dir={folder / f'consul-{host.name}'}", "-log-level=warn"),
                f"-config-file={folder / 'consul.hcl'}",
            ],
            os.environ,
            log,
        )
