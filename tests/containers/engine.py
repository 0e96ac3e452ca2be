"""Podman with a storage and a network of its own, beside whatever else the machine runs."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

CONFIGURATION: Final = """
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""
RUN: Final = "/run/facet-tests"
"""A storage belongs to one such folder, from one run to the next."""
NETWORK: Final = "facet"
SUBNET: Final = "10.89.77.0/24"
DOOR: Final = "10.89.78.2"
"""The address of the containers' host, as the tests reach it from outside."""
_OUTSIDE: Final = "10.89.78.1"


class Engine:
    """Runs podman inside a network namespace, which is the containers' host."""

    def __init__(self, storage: Path, folder: Path, namespace: str) -> None:
        """`storage` keeps images for later runs; `folder` holds what is of this one."""
        self._configuration = folder / "containers.conf"
        self._configuration.write_text(CONFIGURATION)
        self._namespace = namespace
        self._names = itertools.count(1)
        self.podman = (
            *("podman", "--root", str(storage), "--runroot", RUN),
            *("--storage-driver", "overlay", "--network-config-dir", str(folder / "networks")),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What podman's environment must have."""
        return {**os.environ, "CONTAINERS_CONF": str(self._configuration)}

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a podman command to its end; AssertionError with its words when it fails."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._namespace}", *self.podman, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {arguments[0]}: {done.stderr[-3000:]}"
        return done

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what podman knows of a container or an image."""
        found: dict[str, Any] = json.loads(self("inspect", name).stdout)[0]
        return found

    def start(self, image: str, *arguments: str, options: Sequence[str] = ()) -> str:
        """Start a container on the network, as hardened as compose.yaml has it; return its name."""
        name = f"{image.rpartition('/')[2].partition(':')[0]}-{next(self._names)}"
        self(
            *("run", "--detach", "--name", name, "--network", NETWORK),
            *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", *options, image, *arguments),
        )
        return name

    def stop(self, name: str) -> int:
        """Send SIGTERM, wait half a minute at most and return the exit code."""
        self("stop", "--time", "30", name)
        return int(self.inspect(name)["State"]["ExitCode"])

    def kill(self, name: str) -> None:
        """Kill a container, as a machine that loses power does."""
        self("kill", "--signal", "KILL", name)
        self("rm", "--force", name)

    def processes(self, name: str) -> list[dict[str, str]]:
        """Return /proc/<pid>/status of every process of a container."""
        return processes_beside(int(self.inspect(name)["State"]["Pid"]))


def processes_beside(pid: int) -> list[dict[str, str]]:
    """Return /proc/<pid>/status of every process in the namespace of one's process ids."""
    inside = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns" / "pid") == inside:
                lines = (folder / "status").read_text().splitlines()
                found.append({key: value.strip() for key, _, value in map(_split, lines)})
        except OSError:
            continue  # it has ended
    return found


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


@contextmanager
def running_engine(storage: Path, folder: Path) -> Iterator[Engine]:
    """Give an engine with its network; all containers are gone afterwards."""
    namespace, far, near = "facet-tests", "facet-tests1", "facet-tests0"
    _ip("netns", "del", namespace, check=False)  # of a run that was killed
    _ip("netns", "add", namespace)
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
        _ip("addr", "add", f"{_OUTSIDE}/24", "dev", near)
        _ip("link", "set", near, "up")
        for words in ("link set lo up", f"addr add {DOOR}/24 dev {far}", f"link set {far} up"):
            _ip("-n", namespace, *words.split())
        _ip("-n", namespace, "route", "add", "default", "via", _OUTSIDE)
        _ip("route", "add", SUBNET, "via", DOOR)
        engine = Engine(storage, folder, namespace)
        try:
            engine("network", "create", "--subnet", SUBNET, "--disable-dns", NETWORK)
            yield engine
        finally:
            engine("pod", "rm", "--all", "--force", check=False)
            engine("rm", "--all", "--force", "--volumes", check=False)
            engine("volume", "prune", "--force", check=False)
    finally:
        _ip("netns", "del", namespace)
        _ip("link", "del", near, check=False)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
