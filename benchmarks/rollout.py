"""A new version of one model goes live under steady load, while another model is asked for.

Two shards serve two models, both at a steady rate. In every round there is a quiet window, and one
in which a new version of the photograph model is published and promoted: the same network, as when
it was trained again. The shards load it beside the old one, and traffic moves. Told is what that
did to the digits, which have nothing to do with it: their p99 in such a window against the
quiet one before it, and against what two quiet windows differ by.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from benchmarks.clusters import cluster
from benchmarks.measurement import OthersMeter
from benchmarks.models import DIGITS, PHOTOGRAPHS, digits_repository, photograph_repository
from benchmarks.models import test_data as test_data_folder
from benchmarks.pairs import PAIRS, Spread
from benchmarks.recorded_load import OK, Order, Record, RecordedLoad
from benchmarks.report import Options, read_options, report
from benchmarks.requests import digit_files, digit_pixels, photographs, picture_requests
from benchmarks.workers import Worker, worker
from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from services.common.models.manifest import MANIFEST_FILE, VersionContent
from services.common.models.repository import ModelRepository

PER_S: Final[Mapping[str, float]] = {DIGITS: 150.0, PHOTOGRAPHS: 20.0}
"""Requests a second, one picture each: about a third of what two cores can do."""
PATIENCE_S: Final = 20.0
SETTLE_S: Final = 1.0
POLL_S: Final = 0.02

Client = Worker[Order, list[Record]]


@dataclass(frozen=True, slots=True)
class Round:
    """Two quiet windows and one with a roll-out."""

    quiet_p99_ms: float
    again_p99_ms: float
    rollout_p99_ms: float
    """Of the digits, as those before."""
    lost: Counter[str]
    """Of both models, in the whole round."""
    live_s: float
    """From the promotion to the first answer to the bare name by the new version."""


def digit_requests() -> list[bytes]:
    """One request a digit."""
    return picture_requests(DIGITS, digit_files(digit_pixels()))


def photograph_requests() -> list[bytes]:
    """One request a photograph."""
    return picture_requests(PHOTOGRAPHS, photographs(test_data_folder()))


@contextmanager
def both_models() -> Iterator[Path]:
    """A repository of its own with both models; it may be changed."""
    with tempfile.TemporaryDirectory(prefix="facet-rollout-") as folder:
        for made in (digits_repository(), photograph_repository()):
            shutil.copytree(made, folder, dirs_exist_ok=True)
        yield Path(folder)


def publish_again(repository: ModelRepository, folder: Path) -> int:
    """Publish and promote the photograph model's first version once more."""
    first = repository.load_manifest(PHOTOGRAPHS, 1)

    def build(target: Path) -> VersionContent:
        for file in (folder / PHOTOGRAPHS / "1").iterdir():
            if file.name != MANIFEST_FILE:
                shutil.copy(file, target)
        fields = {name: getattr(first, name) for name in VersionContent.model_fields}
        return VersionContent(**fields)

    version = repository.publish(PHOTOGRAPHS, build).version
    repository.change_releases(PHOTOGRAPHS, lambda releases: releases.promote(version))
    return version


def wait_until_live(address: str, version: int) -> float:
    """Return how long it takes until the bare name leads to a version, in seconds."""
    started = time.perf_counter()
    with grpc.insecure_channel(address) as channel:
        stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
        selector = recognition_pb2.ModelSelector(name=PHOTOGRAPHS)
        request = recognition_pb2.GetModelRequest(model=selector)
        while stub.GetModel(request, timeout=PATIENCE_S).model.model.version != version:
            if time.perf_counter() - started > PATIENCE_S:
                raise RuntimeError(f"version {version} did not go live in {PATIENCE_S:g} s")
            time.sleep(POLL_S)
    return time.perf_counter() - started


def one_round(
    address: str,
    clients: Mapping[str, Client],
    repository: ModelRepository,
    folder: Path,
    seconds: float,
) -> Round:
    """Measure two quiet windows, then a roll-out, under one load that goes on throughout."""
    began = time.perf_counter() + SETTLE_S
    for name, client in clients.items():
        client.start(Order(SETTLE_S + 3 * seconds, PATIENCE_S, per_s=PER_S[name]))
    time.sleep(max(0.0, began + 2 * seconds - time.perf_counter()))
    live_s = wait_until_live(address, publish_again(repository, folder))
    records = {name: client.result() for name, client in clients.items()}
    lost = Counter(each.outcome for told in records.values() for each in told if each.outcome != OK)
    quiet, again, rollout = (
        _p99_ms(records[DIGITS], began + window * seconds, began + (window + 1) * seconds)
        for window in range(3)
    )
    return Round(quiet, again, rollout, lost, live_s)


def _p99_ms(records: Sequence[Record], begin: float, end: float) -> float:
    waits = [each.latency_s for each in records if begin <= each.sent < end]
    return 1e3 * float(np.percentile(waits, 99))


def measure(seconds: float) -> tuple[list[Round], float]:
    """Run the rounds; also return how many cores other work took."""
    meter = OthersMeter()
    with both_models() as folder, cluster(folder) as running:
        repository = ModelRepository.open(str(folder))
        load = partial(RecordedLoad, running.gateway)
        with (
            worker(partial(load, digit_requests)) as digits,
            worker(partial(load, photograph_requests)) as pictures,
        ):
            clients: dict[str, Client] = {DIGITS: digits, PHOTOGRAPHS: pictures}
            rounds = [
                one_round(running.gateway, clients, repository, folder, seconds)
                for _ in range(PAIRS)
            ]
        others = meter.cores()
        if running.deaths:
            raise RuntimeError(f"processes died: {running.deaths}")
    return rounds, others


def tell(options: Options, rounds: Sequence[Round], others: float) -> None:
    """Print and write the figures."""
    ratio = Spread.of([each.rollout_p99_ms / each.again_p99_ms for each in rounds])
    control = Spread.of([each.again_p99_ms / each.quiet_p99_ms for each in rounds])
    quiet = Spread.of([each.again_p99_ms for each in rounds])
    rollout = Spread.of([each.rollout_p99_ms for each in rounds])
    live = Spread.of([each.live_s for each in rounds])
    lost = sum((each.lost for each in rounds), Counter())
    report(
        options,
        "rollout: a new version of one model, and the p99 of another one",
        {
            "p99 of the other model, roll-out / quiet": ratio.text(2),
            "quiet / quiet": control.text(2),
            "lost": ", ".join(f"{count} {name}" for name, count in lost.items()) or "0",
            "p99 quiet": quiet.text(1, "ms"),
            "p99 in a roll-out": rollout.text(1, "ms"),
            "from promotion to traffic": live.text(2, "s"),
            "other work on the machine": f"{others:.2f} cores",
        },
        {
            "ratio": ratio.median,
            "ratio_spread": [ratio.low, ratio.high],
            "control_ratio": control.median,
            "control_spread": [control.low, control.high],
            "lost": lost.total(),
            "lost_as": dict(lost),
            "quiet_p99_ms": quiet.median,
            "rollout_p99_ms": rollout.median,
            "live_s": live.median,
            "others_cores": others,
            "rounds": len(rounds),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("rollout: a version goes live under load", seconds=6.0)
    tell(options, *measure(options.seconds))


if __name__ == "__main__":
    main()
