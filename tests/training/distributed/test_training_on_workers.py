"""Real workers that learn together, and what happens when they are killed, frozen and lost."""

import asyncio
import contextlib
import dataclasses
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from facet.cli.training_workers import parse_workers
from facet.launcher.training_workers import LocalWorkers
from services.common.errors import InvalidRequestError, UnavailableError
from services.common.models.repository import ModelRepository
from services.common.registry import open_registry
from services.common.security.files import TlsFiles, files_in
from services.common.security.identity import DEFAULT_TRUST_DOMAIN
from services.common.security.lab import make_lab
from services.training.data.dataset import Dataset
from services.training.distributed.sources import RegisteredWorkers
from services.training.distributed.worker import NAME
from services.training.history import EpochRecord
from services.training.jobs.checkpoints import Checkpoints
from services.training.jobs.record import JobRecord
from services.training.jobs.storage import Storage
from services.training.learner import State
from services.training.loop import Position
from services.training.progress import SilentProgress, StepReport
from services.training.running import RunOptions
from services.training.settings import TrainingSettings
from services.training.trainer import Network, Saver, Trained, make_learner, train
from services.training.training import train_and_publish
from tests.conftest import ROOT
from tests.training.distributed.runs import BATCH, CADENCE, LONG, Listener, some_digits
from tests.training.measured import held_out_loss
from tests.waiting import PATIENCE_S

# Keras hands its variables to numpy in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOLERANCE = 1e-3
"""Relative, of an epoch's loss: sums of floats in another order, over hundreds of steps."""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """What is learned."""
    return some_digits()


@pytest.fixture(scope="module")
def alone(digits: Dataset) -> Trained:
    """One process that learns the same global batches, undisturbed."""
    settings = dataclasses.replace(LONG, batch_size=2 * BATCH)
    return train(digits, settings, SilentProgress())


def assert_same_curve(records: Sequence[EpochRecord], expected: Sequence[EpochRecord]) -> None:
    """Every epoch was learned once, with the same result."""
    assert [record.epoch for record in records] == [record.epoch for record in expected]
    np.testing.assert_allclose(
        [record.loss for record in records],
        [record.loss for record in expected],
        rtol=TOLERANCE,
    )


class Disturber(Listener):
    """Harms a worker at each of some epochs, just once."""

    def __init__(self, workers: LocalWorkers) -> None:
        super().__init__(self._harm)
        self._workers = workers
        self._left = {5: self._kill_worker, 12: self._freeze_worker}
        self._harmed = 0

    def _harm(self, report: StepReport) -> None:
        if len(self.notices) < self._harmed:
            return  # reports come in bursts: that a worker was lost is still to be told
        due = [epoch for epoch in self._left if report.epoch >= epoch and report.step > 5]
        if due:
            self._harmed += 1
            self._left.pop(due[0])()

    def _kill_worker(self) -> None:
        os.kill(self._workers.pids["training-worker-1"], signal.SIGKILL)

    def _freeze_worker(self) -> None:
        os.kill(self._workers.pids["training-worker-2"], signal.SIGSTOP)


@pytest.mark.timeout(200)
def test_lost_workers_are_replaced_and_change_nothing_of_what_is_learned(
    digits: Dataset, alone: Trained, tmp_path: Path
) -> None:
    workers, repository = LocalWorkers(2), ModelRepository(tmp_path)
    listener = Disturber(workers)
    others = set(psutil.Process().children())
    logs = tmp_path / "logs"
    options = RunOptions(workers=workers, cadence=CADENCE, logs=lambda _: logs)
    manifest = train_and_publish(repository, "digits", digits, LONG, listener, options)
    assert_same_curve(listener.records, alone.history)
    assert manifest.metrics["held_out_loss"] == pytest.approx(
        held_out_loss(alone, digits), rel=TOLERANCE
    )
    assert listener.measured == sorted(set(listener.measured))
    assert listener.measured[-1] == LONG.epochs
    killed, frozen = listener.notices
    assert "training-worker-1" in killed
    assert "training-worker-2" in frozen
    # By its member, or by the channel to it: the first to miss it.
    assert "said nothing for 3 s" in frozen or "the peer does not answer" in frozen
    assert Storage(f"{tmp_path}/digits/training").names() == ["lock"]
    assert set(psutil.Process().children()) <= others
    assert {path.parent.name for path in logs.rglob("*tfevents*")} == {
        "train",
        "epochs",
        "held_out",
    }


@pytest.mark.timeout(200)
def test_a_killed_training_is_resumed(digits: Dataset, alone: Trained, tmp_path: Path) -> None:
    program = (sys.executable, "-m", "tests.training.distributed.runs", str(tmp_path))
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout is not None
        assert coordinator.stdout.readline() == b"learning\n"
        family = psutil.Process(coordinator.pid).children(recursive=True)
        assert len(family) == 4
        coordinator.kill()
    assert not psutil.wait_procs(family, PATIENCE_S)[1]
    (job,) = (tmp_path / "digits" / "training").glob("*/")
    kept = Checkpoints(Storage(str(job))).newest()
    assert kept is not None
    assert 3 <= kept.position.epoch < LONG.epochs
    listener = Listener()
    options = RunOptions(workers=LocalWorkers(2), cadence=CADENCE, resume=True)
    manifest = train_and_publish(
        ModelRepository(tmp_path), "digits", digits, LONG, listener, options
    )
    assert listener.notices == []
    assert_same_curve([*kept.position.history, *listener.records], alone.history)
    assert manifest.metrics["held_out_loss"] == pytest.approx(
        held_out_loss(alone, digits), rel=TOLERANCE
    )


async def all_registered(url: str, count: int) -> None:
    """Wait until so many workers are there."""
    registry = open_registry(url)
    try:
        async with (
            asyncio.timeout(2 * PATIENCE_S),
            contextlib.aclosing(registry.watch(NAME)) as seen,
        ):
            async for view in seen:
                if len(view.instances) == count:
                    return
    finally:
        await registry.close()


@contextlib.contextmanager
def train_workers(registry: str, home: Path, count: int) -> Iterator[None]:
    """Run `facet train-worker`s, registered, for the time of the block."""
    command = (sys.executable, "-m", "facet.cli.app", "train-worker", "--threads", "1")
    options = ("--registry", registry, "--home", str(home))
    with (home / "workers.log").open("wb") as log:
        workers = [subprocess.Popen([*command, *options], stderr=log) for _ in range(count)]
        try:
            asyncio.run(all_registered(registry, count))
            yield
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                assert worker.wait(PATIENCE_S) == 0


def show_certificate(monkeypatch: pytest.MonkeyPatch, files: TlsFiles) -> None:
    """Have the files in the settings, of the workers and of whoever trains."""
    monkeypatch.setenv("FACET_TLS_CERT", str(files.certificate))
    monkeypatch.setenv("FACET_TLS_KEY", str(files.key))
    monkeypatch.setenv("FACET_TLS_CA", str(files.ca))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("kind", ["directory", "consul-tls"])
def test_registered_workers_serve_one_training_after_the_other(
    kind: str,
    digits: Dataset,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, tls = 2, None
    if kind == "consul-tls":
        registry, there = request.getfixturevalue("consul_url"), 1
        make_lab(tmp_path / "tls", DEFAULT_TRUST_DOMAIN)
        show_certificate(monkeypatch, files_in(tmp_path / "tls", "training"))
        asked = parse_workers("registry:2", tmp_path, registry)
        assert asked is not None
        tls = asked.tls
    else:
        registry = (tmp_path / "registry").as_uri()
    repository, listener = ModelRepository(tmp_path / "models"), Listener()
    source = RegisteredWorkers(registry, 2, patience_s=PATIENCE_S if there == 2 else 1.0, tls=tls)
    options = RunOptions(workers=source, cadence=CADENCE)
    hot = dataclasses.replace(LONG, epochs=2, learning_rate=1e38)
    short = dataclasses.replace(LONG, epochs=2)
    with train_workers(registry, tmp_path, there):
        if there == 2:
            one = RunOptions(workers=RegisteredWorkers(registry, 1), cadence=CADENCE)
            with pytest.raises(InvalidRequestError, match="diverged in epoch 1") as raised:
                train_and_publish(repository, "digits", digits, hot, listener, one)
            assert raised.value.reason == "TRAINING_DIVERGED"
        else:
            plain = RunOptions(workers=RegisteredWorkers(registry, 1, patience_s=0.2))
            with pytest.raises(UnavailableError, match="no training worker"):
                train_and_publish(repository, "digits", digits, short, listener, plain)
        manifest = train_and_publish(repository, "digits", digits, short, listener, options)
    # One worker learns what two would have learned.
    assert listener.notices == (["training with 1 of 2 workers"] if there == 1 else [])
    assert manifest.version == 1
    together = train(digits, dataclasses.replace(short, batch_size=2 * BATCH), SilentProgress())
    assert_same_curve(listener.records, together.history)


def test_a_killed_training_of_one_process_repeats_its_random_moves(
    digits: Dataset, tmp_path: Path
) -> None:
    settings = TrainingSettings(epochs=4, batch_size=BATCH, shift=0.2)
    whole = train(digits, settings, SilentProgress())
    checkpoints = Checkpoints(Storage(str(tmp_path)))

    def stop(report: StepReport) -> None:
        if (report.epoch, report.step) == (3, 9):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(digits, settings, Listener(stop), checkpoints=checkpoints, every_steps=4)
    assert len(checkpoints.names()) == 2
    resumed = train(digits, settings, SilentProgress(), checkpoints=checkpoints)
    assert_same_curve(resumed.history, whole.history)
    assert held_out_loss(resumed, digits) == pytest.approx(
        held_out_loss(whole, digits), rel=TOLERANCE
    )


def test_a_full_disk_is_told_and_harms_no_checkpoint(digits: Dataset, tmp_path: Path) -> None:
    settings = dataclasses.replace(LONG, epochs=4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(report: StepReport) -> None:
        if report.epoch == 3:
            # No file may grow beyond half of a checkpoint from now on.
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))

    repository = ModelRepository(tmp_path)
    try:
        with pytest.raises(UnavailableError, match="cannot be used: File too large") as raised:
            train_and_publish(repository, "digits", digits, settings, Listener(fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.reason == "REPOSITORY_UNAVAILABLE"
    (job,) = (tmp_path / "digits" / "training").glob("*/")
    assert not list(job.glob("*.part"))
    listener = Listener()
    train_and_publish(repository, "digits", digits, settings, listener, RunOptions(resume=True))
    assert [record.epoch for record in listener.records] == [3, 4]


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(
    digits: Dataset, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(Storage(str(tmp_path)))
    settings = dataclasses.replace(LONG, epochs=2)
    train(digits, settings, SilentProgress(), checkpoints=checkpoints)
    poisoned = dataclasses.replace(settings, epochs=3, learning_rate=1e38)
    good = checkpoints.names()[-1]
    with pytest.raises(InvalidRequestError) as raised:
        train(digits, poisoned, SilentProgress(), checkpoints=checkpoints, every_steps=1)
    assert raised.value.reason == "TRAINING_DIVERGED"
    assert good in checkpoints.names()


def test_weights_that_are_no_numbers_are_not_kept(digits: Dataset, tmp_path: Path) -> None:
    record = JobRecord.of(digits, LONG, workers=1)
    learner = make_learner(record, Network(record))
    state = learner.state()
    learner.restore(State([value * np.nan for value in state.weights], state.optimizer))
    checkpoints = Checkpoints(Storage(str(tmp_path)))
    saver = Saver(checkpoints, learner, every_steps=1, every_s=1e9)
    with pytest.raises(InvalidRequestError, match="diverged before epoch 2, step 4") as raised:
        saver.within_epoch(Position(2, 3), steps=9)
    assert raised.value.reason == "TRAINING_DIVERGED"
    assert checkpoints.names() == []
