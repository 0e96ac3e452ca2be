"""The real dockerd with docker-compose, on a host of its own beside whatever the machine runs."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.conftest import ROOT
from tests.containers.engine import Engine, processes_beside
from tests.containers.supplies import facet_version

RUN: Final = Path("/run/facet-tests-docker")
NAMESPACE: Final = "facet-docker"
LIMITS: Final = ("nofile=16384:16384", "nproc=16384:16384")
PROJECT: Final = "facet-tests"
START_S: Final = 60.0
HEALTHY_S: Final = 240.0


class Docker:
    """Runs docker and docker-compose inside the network namespace where dockerd is."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds what is of this run."""
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{RUN}/docker.sock",
            "DOCKER_CONFIG": str(folder),
            "FACET_VERSION": facet_version(),
        }

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 600.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on that host to its end; AssertionError with its words when it fails."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{NAMESPACE}", *command],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        said = done.stdout[-1000:] + done.stderr[-3000:]
        assert not check or done.returncode == 0, f"{command[:2]}: {said}"
        return done

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a docker command."""
        return self.run("docker", *arguments, check=check)

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what dockerd knows of a container or an image."""
        found: dict[str, Any] = json.loads(self("inspect", name).stdout)[0]
        return found

    def processes(self, name: str) -> list[dict[str, str]]:
        """Return /proc/<pid>/status of every process of a container."""
        return processes_beside(int(self.inspect(name)["State"]["Pid"]))

    def take(self, engine: Engine, images: Mapping[str, str], folder: Path) -> None:
        """Take images from podman, unless they are here: the name there → the names here."""
        absent = {
            here: there
            for here, there in images.items()
            if self("images", "--quiet", "--no-trunc", here).stdout.strip()
            != f"sha256:{engine.inspect(there)['Id']}"
        }
        if absent:
            archive = folder / "images.tar"
            words = ("--quiet", "--format=docker-archive", "--multi-image-archive")
            engine("save", *words, f"--output={archive}", *absent.values())
            self("load", "--quiet", "--input", str(archive))
            archive.unlink()
        for here, there in absent.items():
            self("tag", there, here)


class Project:
    """A cluster of docker/compose.yaml and what lies over it."""

    def __init__(self, docker: Docker, *files: str) -> None:
        """Name the files in docker/; nothing is started."""
        self.docker = docker
        chosen = [word for name in files for word in ("--file", str(ROOT / "docker" / name))]
        self._compose = ("docker-compose", "--project-name", PROJECT, *chosen)

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a docker-compose command."""
        return self.docker.run(*self._compose, *arguments, check=check)

    def up(self, *options: str) -> None:
        """Start the cluster; AssertionError with what its containers said when one fails."""
        done = self("up", "--detach", *options, check=False)
        if done.returncode:
            said = self("logs", "--no-color", "--tail=20", check=False).stdout
            raise AssertionError(done.stderr[-1000:] + said[-5000:])

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, whether they run or not."""
        return [line.split()[1] for line in self._listed() if line.split()[0] == service]

    def wait_healthy(self, services: Sequence[str]) -> None:
        """Wait until each container of these calls itself healthy, by its own HEALTHCHECK."""
        deadline = time.monotonic() + HEALTHY_S
        while True:
            listed = [line for line in self._listed() if line.split()[0] in services]
            present = {line.split()[0] for line in listed}
            if present == set(services) and all("(healthy)" in line for line in listed):
                return
            assert time.monotonic() < deadline, listed
            time.sleep(0.5)

    def _listed(self) -> list[str]:
        """Each container's service, id and state, as words."""
        ours = f"label=com.docker.compose.project={PROJECT}"
        shown = '{{.Label "com.docker.compose.service"}} {{.ID}} {{.Status}}'
        listed = self.docker("ps", "--all", "--filter", ours, "--format", shown)
        return listed.stdout.splitlines()


@contextmanager
def running_docker(storage: Path, folder: Path) -> Iterator[Docker]:
    """Give a dockerd; `storage` keeps images for later runs. All containers end with it."""
    RUN.mkdir(exist_ok=True)
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        docker = Docker(folder)
        daemon = _start(storage, folder)
        try:
            _clear(docker)  # of a run that was killed
            yield docker
            _clear(docker)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(START_S)
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def _start(storage: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start dockerd and wait for its word that it is ready; it ends when the tests do."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
        (folder / "dockerd.log").open("wb") as log,
    ):
        ready.bind(str(folder / "ready"))
        ready.settimeout(START_S)
        daemon = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{NAMESPACE}", "setpriv", "--pdeathsig", "TERM"),
                *("dockerd", "--data-root", storage, "--exec-root", RUN),
                *("--pidfile", RUN / "pid", "--host", f"unix://{RUN}/docker.sock"),
                *(f"--default-ulimit={limit}" for limit in LIMITS),
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "ready")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except TimeoutError:
            daemon.kill()
            said = (folder / "dockerd.log").read_text(errors="replace")
            raise AssertionError(f"dockerd does not start:\n{said[-3000:]}") from None
    return daemon


def _clear(docker: Docker) -> None:
    """Remove all containers, networks and volumes, and images that have lost their names."""
    if names := docker("ps", "--all", "--quiet").stdout.split():
        docker("rm", "--force", "--volumes", *names)
    if volumes := docker("volume", "ls", "--quiet").stdout.split():
        docker("volume", "rm", *volumes)
    docker("network", "prune", "--force")
    docker("image", "prune", "--force")
