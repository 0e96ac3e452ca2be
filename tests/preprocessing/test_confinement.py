"""What decoders are kept from, each seen in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.preprocessing.confinement.landlock import version
from services.preprocessing.confinement.memory import HEADROOM_BYTES
from services.preprocessing.confinement.watchdog import EXIT_STUCK
from services.preprocessing.settings import PreprocessingSettings
from tests.conftest import ROOT


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests/preprocessing/confined.py."""
    return subprocess.run(
        [sys.executable, "-m", "tests.preprocessing.confined", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def found(*arguments: str) -> dict[str, Any]:
    """What it found."""
    done = child(*arguments)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.skipif(version() < 3, reason="this kernel has no Landlock, or an old one")
def test_a_decoder_writes_no_file_and_does_its_work(tmp_path: Path) -> None:
    outcomes = found("files", str(tmp_path))
    assert outcomes.pop("left") == "empty there"
    for name in ("make", "write", "append", "truncate", "remove", "rename", "mkdir", "rmdir"):
        assert outcomes.pop(name) == "Permission denied", name
    assert {outcomes.pop(name) for name in ("link", "shm")} == {"Permission denied"}
    assert outcomes == {
        "run": "done",  # a shell, which could write nothing either
        "read": "done",
        "decode": "done",
        "share": "done",
        "no_new_privs": "True",
        "event loop": "done",
    }


def test_a_picture_that_needs_too_much_memory_fails_alone() -> None:
    assert found("memory") == {"before": "done", "large": "IMAGE_TOO_LARGE", "after": "done"}


def test_by_default_there_is_memory_for_the_largest_pictures() -> None:
    settings = PreprocessingSettings(threads=3, max_image_pixels=1_000_000)
    assert settings.decoder_memory == 3 * 16_000_000 + HEADROOM_BYTES
    assert PreprocessingSettings(decoder_memory_bytes=5).decoder_memory == 5


def test_a_picture_without_end_ends_the_process_which_says_why() -> None:
    done = child("hang")
    assert done.returncode == EXIT_STUCK
    said = json.loads(done.stderr)
    assert (said["setting"], said["limit_s"]) == ("FACET_DECODE_S", 0.2)


def test_so_does_one_that_holds_the_lock_of_the_interpreter() -> None:
    done = child("hang-with-lock")
    assert done.returncode == 1
    assert "Timeout (0:00:00.4" in done.stderr
    assert "in hang" in done.stderr or "in run" in done.stderr
