"""Beginning, resuming and ending trainings, one at a time."""

import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import InvalidRequestError, UnavailableError
from services.training.data.dataset import Dataset
from services.training.jobs.job import Job, open_job
from services.training.jobs.lock import LOCK, STALE_S
from services.training.jobs.record import JobRecord
from services.training.jobs.storage import Storage
from services.training.settings import TrainingSettings
from tests.conftest import ROOT

PICTURES = np.zeros((6, 4, 4, 1), np.uint8)
LABELS = np.arange(6, dtype=np.int64) % 2
DATA = Dataset("dots", PICTURES, LABELS, PICTURES, LABELS, ("a", "b"))
SETTINGS = TrainingSettings(epochs=3)
ASKED = JobRecord.of(DATA, SETTINGS, 2)


class Stopped(Exception):
    """Something ended the training."""


def leave_unfinished(root: str) -> str:
    """Begin a training that does not end; return its folder."""
    with pytest.raises(Stopped), open_job(root, "dots", DATA, ASKED, resume=False) as job:
        raise Stopped
    return job.url


@pytest.fixture(params=["file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty repository."""
    return str(tmp_path) if request.param == "file" else f"memory://{uuid.uuid4().hex}"


def test_an_unfinished_training_is_resumed_and_a_finished_one_leaves_nothing(root: str) -> None:
    url = leave_unfinished(root)
    with open_job(root, "dots", DATA, ASKED, resume=True) as job:
        assert job.url == url
        assert Job.at(url).record() == ASKED
        with job.pictures() as pictures:
            np.testing.assert_array_equal(pictures.labels, LABELS)
    assert [name for name in Storage(f"{root}/dots/training").names() if name != LOCK] == []
    with (
        pytest.raises(InvalidRequestError, match="no unfinished training of 'dots'") as raised,
        open_job(root, "dots", DATA, ASKED, resume=True),
    ):
        pass
    assert raised.value.reason == "NOTHING_TO_RESUME"


def test_another_training_is_not_taken_for_the_unfinished_one(root: str) -> None:
    leave_unfinished(root)
    other_data = replace(DATA, train_labels=LABELS[::-1].copy())
    asked = JobRecord.of(other_data, replace(SETTINGS, epochs=4), 3)
    with (
        pytest.raises(InvalidRequestError) as raised,
        open_job(root, "dots", other_data, asked, resume=True),
    ):
        pass
    assert raised.value.reason == "TRAINING_CHANGED"
    assert "epochs was 3 and is 4 now" in raised.value.message
    assert "workers was 2 and is 3 now" in raised.value.message
    assert "data_sha256 was" in raised.value.message
    assert "seed" not in raised.value.message


def test_the_second_training_of_a_name_is_refused(root: str) -> None:
    with open_job(root, "dots", DATA, ASKED, resume=False):
        with (
            pytest.raises(InvalidRequestError, match="'dots' is being trained") as raised,
            open_job(root, "dots", DATA, ASKED, resume=False),
        ):
            pass
        with open_job(root, "others", DATA, ASKED, resume=False):
            pass
    assert raised.value.reason == "TRAINING_RUNNING"
    with open_job(root, "dots", DATA, ASKED, resume=False):
        pass


def test_a_lock_without_a_heartbeat_is_taken_over() -> None:
    root = f"memory://{uuid.uuid4().hex}"
    storage = Storage(f"{root}/dots/training")
    storage.write(LOCK, f"abc {time.time():.0f}".encode())
    with (
        pytest.raises(InvalidRequestError, match="being trained"),
        open_job(root, "dots", DATA, ASKED, resume=False),
    ):
        pass
    storage.write(LOCK, f"abc {time.time() - 2 * STALE_S:.0f}".encode())
    with open_job(root, "dots", DATA, ASKED, resume=False):
        assert not (storage.read(LOCK) or b"").startswith(b"abc ")
    assert LOCK not in storage.names()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from services.training.jobs.lock import training_lock\n"
        "from services.training.jobs.storage import Storage\n"
        "with training_lock(Storage(sys.argv[1]), 'dots'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "dots" / "training")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(InvalidRequestError, match="being trained"),
            open_job(str(tmp_path), "dots", DATA, ASKED, resume=False),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    with open_job(str(tmp_path), "dots", DATA, ASKED, resume=False):
        pass


def test_a_repository_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UnavailableError) as raised,
        open_job(str(tmp_path / "file"), "dots", DATA, ASKED, resume=False),
    ):
        pass
    assert raised.value.reason == "REPOSITORY_UNAVAILABLE"
