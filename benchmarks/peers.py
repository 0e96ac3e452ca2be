"""Facet beside other servers on this machine: Triton (through pytriton) and LitServe.

MobileNetV2, JPEG bytes in, labels out, one picture a request, 32 requests at a time from one
client process on the same cores. Every server decodes with the same function, runs the same file
on the same engine, with two engines of one thread, and stays up all the time; the loads take
turns. So does one process without a server (benchmarks/in_process.py). Each peer has a virtual
environment of its own; one that cannot be installed or started is named with the reason.
"""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from benchmarks.chain import CALLERS, load_files, load_requests
from benchmarks.clusters import SHARDS, cluster
from benchmarks.in_process import InProcess, InProcessPlan
from benchmarks.load import ClosedLoop, Door, LoadPlan
from benchmarks.measurement import Measurement, OthersMeter
from benchmarks.models import PHOTOGRAPHS, ROOT, photograph_repository
from benchmarks.pairs import Pairs, measure_rounds, spread
from benchmarks.peer_doors import LitServeDoor, TritonDoor, triton_requests
from benchmarks.peer_environments import environment, same
from benchmarks.report import Options, cpu_us_per_image, read_options, report
from benchmarks.workers import worker
from facet.launcher.plan import MALLOC_ENVIRONMENT
from services.common.errors import ConfigurationError
from services.common.models.repository import ModelRepository

OURS: Final = "facet"
NO_SERVER: Final = "one process"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 5.0


def load_triton_requests() -> list[bytes]:
    """The same photographs as Triton wants them."""
    return triton_requests(load_files())


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server."""

    name: str
    module: str
    requirements: Sequence[str]
    requests: Callable[[], Sequence[bytes]]
    door: Callable[[str], Door]


def peers() -> list[Peer]:
    """Return all that are known."""
    common = same("ai-edge-litert", "simplejpeg", "pillow")
    triton = ["nvidia-pytriton==0.7.0", "opencv-python-headless==4.11.0.86"]  # numpy below 2
    lit = ["litserve==0.2.19", *same("opencv-python-headless", "protobuf", "numpy")]
    return [
        Peer(
            "triton",
            "benchmarks.peer_servers.triton",
            [*triton, *common],
            load_triton_requests,
            TritonDoor,
        ),
        Peer("litserve", "benchmarks.peer_servers.lit", [*lit, *common], load_files, LitServeDoor),
    ]


@contextmanager
def served(peer: Peer, models: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Run a peer; yields host:port and its processes once it has answered.

    Raises ConfigurationError with the reason when it cannot be installed or started.
    """
    interpreter = environment(peer.name, peer.requirements)
    repository = ModelRepository(models)
    manifest = repository.load_manifest(PHOTOGRAPHS, repository.latest(PHOTOGRAPHS))
    with tempfile.TemporaryDirectory(prefix="facet-peer-") as folder:
        state = Path(folder)
        (state / "labels").write_text("\n".join(manifest.labels), "utf-8")
        model = repository.artefact_path(manifest, "litert")
        port = _free_port()
        command = [str(interpreter), "-m", peer.module, str(port), str(SHARDS), str(model)]
        with (state / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, str(state / "labels"), str(state)],
                env=_peer_environment(interpreter),
                cwd=state,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            address = f"127.0.0.1:{port}"
            _wait_for_answer(peer, address, process, state / "log")
            family = [process.pid, *(c.pid for c in psutil.Process(process.pid).children(True))]
            yield address, {f"{peer.name} {pid}": pid for pid in family}
        finally:
            _end(process)


def _peer_environment(interpreter: Path) -> dict[str, str]:
    path = f"{interpreter.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    code = os.pathsep.join([str(ROOT), str(ROOT / "protos")])
    return {**os.environ, **MALLOC_ENVIRONMENT, "PATH": path, "PYTHONPATH": code}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_answer(peer: Peer, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    request = peer.requests()[0]

    async def answered() -> None:
        door = peer.door(address)
        try:
            await door.ask(request, 1)
        finally:
            await door.close()

    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return asyncio.run(answered())
        except Exception as error:  # each door has its own for a server that is not there yet
            if process.poll() is not None or time.monotonic() > deadline:
                last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
                raise ConfigurationError(
                    f"it does not answer ({type(error).__name__}): {last}"
                ) from error
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL for all of its session: LitServe does not follow SIGTERM."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured."""

    measured: dict[str, Sequence[Measurement]]
    """By the name of the server, ours first, that without a server last."""
    missing: dict[str, str]
    """The peers that are not there, and why."""
    others_cores: float


def measure(seconds: float) -> Results:
    """Run ours and every peer that can be had in turn."""
    models = photograph_repository()
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker processes
    missing = {}
    with ExitStack() as stack:
        running = stack.enter_context(cluster(models))
        plans = {OURS: LoadPlan(running.gateway, load_requests, 1, CALLERS, running.pids)}
        for peer in peers():
            try:
                address, pids = stack.enter_context(served(peer, models))
            except ConfigurationError as error:
                missing[peer.name] = error.message
                continue
            plans[peer.name] = LoadPlan(address, peer.requests, 1, CALLERS, pids, peer.door)
        sides = [
            stack.enter_context(worker(partial(ClosedLoop, plan))).run for plan in plans.values()
        ]
        alone = InProcessPlan(models, PHOTOGRAPHS, load_files, threads=SHARDS)
        sides.append(stack.enter_context(worker(partial(InProcess, alone))).run)
        meter = OthersMeter()
        measured = measure_rounds(sides, seconds)
        others = meter.cores()
        if running.deaths:
            raise RuntimeError(f"processes died: {running.deaths}")
    names = [*plans, NO_SERVER]
    return Results(dict(zip(names, measured, strict=True)), missing, others)


def _rate(measurement: Measurement) -> float:
    return measurement.images_per_s


def tell(options: Options, results: Results) -> None:
    """Print and write the figures."""
    lines: dict[str, str] = {}
    ours, alone = results.measured[OURS], results.measured[NO_SERVER]
    servers: dict[str, object] = {}
    for name, measured in results.measured.items():
        ratio = Pairs(ours, measured).ratio(_rate)
        rate = spread(measured, _rate)
        p50 = spread(measured, lambda each: each.percentile_ms(50))
        p99 = spread(measured, lambda each: each.percentile_ms(99))
        cost = sum(cpu_us_per_image(measured).values())
        if name != OURS:
            lines[f"facet / {name}"] = ratio.text(2)
        lines[name] = (
            f"{rate.text(1, 'img/s')}, p50 {p50.median:.0f} ms, p99 {p99.median:.0f} ms, "
            f"{cost:,.0f} us of CPU an image"
        )
        servers[name] = {
            "img_per_s": rate.median,
            "img_per_s_spread": [rate.low, rate.high],
            "facet_ratio": ratio.median,
            "share_of_one_process": Pairs(measured, alone).ratio(_rate).median,
            "p50_ms": p50.median,
            "p99_ms": p99.median,
            "cpu_us_per_image": round(cost, 1),
        }
    lines |= {name: f"not measured: {reason}" for name, reason in results.missing.items()}
    lines["other work on the machine"] = f"{results.others_cores:.2f} cores"
    report(
        options,
        "peers: JPEG in, labels out, MobileNetV2, 32 at a time",
        dict(sorted(lines.items(), key=lambda line: not line[0].startswith("facet /"))),
        {
            "servers": servers,
            "missing": results.missing,
            "others_cores": results.others_cores,
            "rounds": len(ours),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("peers: Facet beside Triton and LitServe", seconds=4.0)
    tell(options, measure(options.seconds))


if __name__ == "__main__":
    main()
