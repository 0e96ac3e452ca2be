"""From the start of the launcher to a cluster that answers, warm and cold.

`facet up` with two shards on MobileNetV2, ready as soon as it says so; the first picture is sent
then, and its answer is timed as well. The reference is one process that loads the same model on
as many engines and listens (benchmarks/monolith.py). Warm: all files are in memory. Cold: they
have been thrown out of it, as after a boot; what some other process has mapped stays, so that the
bytes which were really read stand beside the time.

`--seconds` changes nothing: a start takes what it takes.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import psutil

from benchmarks.chain import load_requests
from benchmarks.clusters import SHARDS
from benchmarks.load import RECOGNIZE
from benchmarks.measurement import Measurement, busy_s
from benchmarks.models import PHOTOGRAPHS, photograph_repository
from benchmarks.monolith import monolith
from benchmarks.page_cache import evict_everything
from benchmarks.pairs import Pairs, Spread, measure_pairs, spread
from benchmarks.report import Options, others_cores, read_options, report
from facet.launcher.plan import MALLOC_ENVIRONMENT
from facet.recognition.v1 import recognition_pb2

COLD_STARTS: Final = 3
ANSWER_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
READY: Final = re.compile(r"Ready: gateway at (\S+:\d+)")


def start_cluster(models: Path, request: bytes, seconds: float) -> Measurement:
    """Start a cluster and stop it again; `seconds` of the result is the time to ready.

    Its only latency is that from the start to the first answer.
    """
    with tempfile.TemporaryDirectory(prefix="facet-benchmark-") as home:
        busy, started = busy_s(), time.perf_counter()
        with _launcher(models, Path(home)) as (launcher, address):
            ready_s = time.perf_counter() - started
            spent, read = _spent(psutil.Process(launcher.pid))
            others = max(0.0, busy_s() - busy - sum(spent.values())) / ready_s
            _ask(address, request)
            answered_s = time.perf_counter() - started
    return Measurement(
        seconds=ready_s,
        requests=1,
        images=1,
        latencies_ms=[1e3 * answered_s],
        cpu_s=spent,
        others_cores=others,
        settings={"read_bytes": read},
    )


def start_monolith(models: Path, seconds: float) -> Measurement:
    """Start the one process and stop it again; `seconds` of the result is the time to ready."""
    busy, started = busy_s(), time.perf_counter()
    with monolith(models, PHOTOGRAPHS, SHARDS) as (_, pid):
        ready_s = time.perf_counter() - started
        spent = _cpu_s(psutil.Process(pid))
        others = max(0.0, busy_s() - busy - spent) / ready_s
    return Measurement(
        seconds=ready_s, requests=1, images=1, cpu_s={"one process": spent}, others_cores=others
    )


@contextmanager
def _launcher(models: Path, home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `facet up`; yields it and the gateway's address when it says that it is ready."""
    command = [sys.executable, "-m", "facet.cli.app", "up", "--port", "0"]
    command += ["--shards", str(SHARDS), "--home", str(home), "--models", str(models)]
    launcher = subprocess.Popen(
        command,
        # A line that is not wrapped can be recognised.
        env={**os.environ, "COLUMNS": "500"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert launcher.stderr is not None
    try:
        said = []
        for line in launcher.stderr:
            said.append(line)
            if ready := READY.search(line):
                yield launcher, ready[1]
                break
        else:
            raise RuntimeError("the cluster did not start: " + "".join(said))
    finally:
        launcher.send_signal(signal.SIGTERM)
        try:
            launcher.communicate(timeout=STOP_TIMEOUT_S)
        finally:
            launcher.kill()


def _ask(address: str, request: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, recognition_pb2.RecognizeResponse] = (
            channel.unary_unary(
                RECOGNIZE, response_deserializer=recognition_pb2.RecognizeResponse.FromString
            )
        )
        response = call(request, timeout=ANSWER_TIMEOUT_S)
    if not response.results[0].classification.classes:
        raise RuntimeError(f"the picture was not recognised: {response}")


def _spent(launcher: psutil.Process) -> tuple[dict[str, float], int]:
    """Return processor seconds by process name, and bytes that all of them read from disks."""
    processes = {"launcher": launcher}
    for child in launcher.children(recursive=True):
        processes[child.environ().get("FACET_NAME", str(child.pid))] = child
    spent = {name: _cpu_s(process) for name, process in processes.items()}
    return spent, sum(process.io_counters().read_bytes for process in processes.values())


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def measure(seconds: float) -> tuple[Pairs, list[Measurement]]:
    """Return warm starts beside those of one process, and cold starts."""
    models = photograph_repository()
    request = load_requests()[0]
    os.environ.update(MALLOC_ENVIRONMENT)  # of the one process
    pairs = measure_pairs(
        partial(start_cluster, models, request), partial(start_monolith, models), seconds
    )
    cold = []
    for _ in range(COLD_STARTS):
        evict_everything(models)
        cold.append(start_cluster(models, request, seconds))
    return pairs, cold


def _ready_s(measurement: Measurement) -> float:
    return measurement.seconds


def _answered_s(measurement: Measurement) -> float:
    return measurement.latencies_ms[0] / 1e3


def tell(options: Options, pairs: Pairs, cold: list[Measurement]) -> None:
    """Print and write the figures."""
    warm, answered = spread(pairs.ours, _ready_s), spread(pairs.ours, _answered_s)
    reference, cold_s = spread(pairs.reference, _ready_s), spread(cold, _ready_s)
    ratio = pairs.ratio(_ready_s)
    read_mb = Spread.of([each.settings["read_bytes"] / 1e6 for each in cold])
    spent = {
        name: Spread.of([each.cpu_s.get(name, 0.0) for each in pairs.ours]).median
        for name in sorted(pairs.ours[0].cpu_s)
    }
    others = others_cores([*pairs.ours, *pairs.reference, *cold])
    report(
        options,
        f"startup: all services and {SHARDS} shards on MobileNetV2",
        {
            "time of one process's": ratio.text(2),
            "ready, warm": warm.text(2, "s"),
            "first answer, warm": answered.text(2, "s"),
            "one process ready, warm": reference.text(2, "s"),
            "ready, cold": cold_s.text(2, "s"),
            "read from disks when cold": read_mb.text(0, "MB"),
            **{f"CPU of {name}, warm": f"{seconds:.2f} s" for name, seconds in spent.items()},
            "CPU in all, warm": f"{sum(spent.values()):.2f} s",
            "other work on the machine": f"{others:.2f} cores",
        },
        {
            "ratio": ratio.median,
            "ready_s": warm.median,
            "ready_spread_s": [warm.low, warm.high],
            "first_answer_s": answered.median,
            "reference_ready_s": reference.median,
            "cold_ready_s": cold_s.median,
            "cold_ready_spread_s": [cold_s.low, cold_s.high],
            "cold_read_mb": read_mb.median,
            "cpu_s": spent,
            "others_cores": others,
            "pairs": len(pairs.ours),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("startup: from nothing to a cluster that answers", seconds=1.0)
    tell(options, *measure(options.seconds))


if __name__ == "__main__":
    main()
