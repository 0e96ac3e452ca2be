"""Hosts of a network on one machine: namespaces, joined by a switch. Needs root and `ip`.

A host has a network, process ids, mounts and a name of its own, as another machine has: what its
processes share with those of another host is the processor, and files. Its first process waits for
the end of a pipe that this process holds, so that however this one ends, the kernel ends all
processes of all hosts and takes their interfaces away. Nothing gets a name that could be left
behind.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, TypeVar

import psutil

SUBNET: Final = "198.18.{number}.{host}"
"""Of the addresses that RFC 2544 sets apart for measuring networks."""
INSIDE: Final = "eth0"
MTU: Final = 1500
END_S: Final = 10.0
ROOT: Final = Path(__file__).resolve().parent.parent.parent


def missing() -> str:
    """Return what this machine lacks, in words; empty: nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root of a Linux machine can make network namespaces"
    absent = [name for name in ("ip", "tc", "iptables", "nsenter", "unshare") if not _where(name)]
    return f"there is no {absent[0]} on the PATH" if absent else ""


def _where(name: str) -> str | None:
    return shutil.which(name, path=_path())


def _path() -> str:
    """The PATH with the folders of the system's own commands, which not everybody has there."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def run(*command: str) -> None:
    """Run a command to its end; RuntimeError with what it says when it fails."""
    environment = {**os.environ, "PATH": _path()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


class Namespaces:
    """The namespaces of one host, alive from here until `close`."""

    def __init__(self, name: str) -> None:
        self.name = name
        begin = f"hostname {name} && ip link set lo up && echo ready && exec cat"
        self._holder = subprocess.Popen(
            [
                *("unshare", "--net", "--pid", "--uts", "--mount-proc", "--fork"),
                *("--kill-child", "sh", "-c", begin),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": _path()},
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise RuntimeError(f"cannot make the namespaces of {name}")
        (self._first,) = psutil.Process(self._holder.pid).children()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        command: list[str],
        environment: Mapping[str, str],
        output: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a process on the host; the one returned lives as long, and has its exit code."""
        process = subprocess.Popen(
            [*self._enter(), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output != subprocess.PIPE else None,
            env=dict(environment),
            cwd=ROOT,
        )
        self._processes.append(process)
        return process

    def run(self, *command: str) -> None:
        """Run a command on the host; RuntimeError when it fails."""
        run(*self._enter(), *command)

    def take(self, interface: str) -> None:
        """Move an interface of this process's network to the host."""
        run("ip", "link", "set", interface, "netns", str(self._first.pid))

    def close(self) -> None:
        """End all that runs there, as a power cut would."""
        for pipe in (self._holder.stdin, self._holder.stdout):
            assert pipe is not None
            pipe.close()
        for process in (self._holder, *getattr(self, "_processes", ())):
            process.wait(END_S)

    def _enter(self) -> tuple[str, ...]:
        target = str(self._first.pid)
        return ("nsenter", "--target", target, "--net", "--pid", "--uts", "--mount", "--")


class Host(Namespaces):
    """A host at an address, on a port of the switch."""

    def __init__(self, name: str, address: str, switch: Namespaces) -> None:
        super().__init__(name)
        self.address = address
        self._switch = switch
        self._port = f"to-{name}"

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Pull the host's cable out of the switch, and put it back at the end of the block."""
        self._switch.run("ip", "link", "set", self._port, "down")
        try:
            yield
        finally:
            self._switch.run("ip", "link", "set", self._port, "up")

    @contextmanager
    def parted_from(self, other: "Host") -> Iterator[None]:
        """Let what travels between two hosts vanish; both reach all others."""
        rules = [(self, other.address), (other, self.address)]
        for host, address in rules:
            host.run("iptables", "-I", "INPUT", "-s", address, "-j", "DROP")
        try:
            yield
        finally:
            for host, address in rules:
                host.run("iptables", "-D", "INPUT", "-s", address, "-j", "DROP")

    @contextmanager
    def rate(self, bits: str) -> Iterator[None]:
        """Let no more than that through each way, such as "10mbit"; what is too much waits."""
        queue = ("root", "tbf", "rate", bits, "burst", "16kb", "latency", "400ms")
        ends = (self, INSIDE), (self._switch, self._port)
        for where, interface in ends:
            where.run("tc", "qdisc", "add", "dev", interface, *queue)
        try:
            yield
        finally:
            for where, interface in ends:
                where.run("tc", "qdisc", "del", "dev", interface, "root")

    @contextmanager
    def wire(self, *, delay_s: float = 0.0, loss: float = 0.0) -> Iterator[None]:
        """Put a wire between host and switch that takes so long, and loses that share, each way."""
        switch = self._switch
        switch.run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
        try:
            switch.run("ip", "link", "set", self._port, "nomaster")
            switch.run("ip", "link", "set", "far", "master", "bridge", "up")
            switch.run("ip", "link", "set", "near", "up")
            with self._carrier(delay_s, loss):
                yield
        finally:
            switch.run("ip", "link", "del", "near")
            switch.run("ip", "link", "set", self._port, "master", "bridge")

    @contextmanager
    def _carrier(self, delay_s: float, loss: float) -> Iterator[None]:
        carrier = self._switch.start(
            [
                *(sys.executable, "-m", "benchmarks.hosts.wire", self._port, "near"),
                *("--delay", str(delay_s), "--loss", str(loss)),
            ],
            os.environ,
            subprocess.PIPE,
        )
        assert carrier.stdout is not None
        try:
            if carrier.stdout.readline() != b"ready\n":
                raise RuntimeError(f"the wire to {self.name} does not carry anything")
            yield
        finally:
            # nsenter does not hand signals on to what it started.
            for child in psutil.Process(carrier.pid).children():
                child.kill()
            carrier.wait(END_S)
            carrier.stdout.close()


NamespacesT = TypeVar("NamespacesT", bound=Namespaces)


class Network:
    """A switch, this process's own place on it, and the hosts that it is asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._number = secrets.randbelow(256)
        """Two networks of one machine rarely have the same addresses."""
        self._hosts = 1
        self._switch = self._made(Namespaces("switch"))
        self._switch.run("ip", "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        self._switch.run("ip", "link", "set", "bridge", "up")
        self._outside = f"facet-{secrets.token_hex(3)}"
        run("ip", "link", "add", self._outside, "type", "veth", "peer", "name", "outside")
        self._stack.callback(run, "ip", "link", "del", self._outside)
        self._plug("outside")
        run("ip", "address", "add", f"{self._address(1)}/24", "dev", self._outside)
        run("ip", "link", "set", self._outside, "up")

    def host(self, name: str) -> Host:
        """Return a new host on the switch; its name is at most ten characters long."""
        self._hosts += 1
        host = self._made(Host(name, self._address(self._hosts), self._switch))
        cable, port = f"f{secrets.token_hex(4)}", f"to-{name}"
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", port)
        self._plug(port)
        host.take(cable)
        host.run("ip", "link", "set", cable, "name", INSIDE)
        # Frames as large as those of a cable: else one that is lost is forty of them.
        host.run("ip", "link", "set", INSIDE, "mtu", str(MTU), "gso_max_segs", "1", "up")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", INSIDE)
        return host

    def _plug(self, port: str) -> None:
        self._switch.take(port)
        self._switch.run("ip", "link", "set", port, "master", "bridge", "up")

    def _made(self, made: NamespacesT) -> NamespacesT:
        self._stack.callback(made.close)
        return made

    def _address(self, host: int) -> str:
        return SUBNET.format(number=self._number, host=host)


@contextmanager
def network() -> Iterator[Network]:
    """A network without hosts; everything is gone afterwards."""
    with ExitStack() as stack:
        yield Network(stack)
