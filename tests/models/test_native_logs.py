import logging
import os
import re
import subprocess
import sys

import pytest

from services.common.models.native_logs import EVERYTHING, quiet_stderr

NOISE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


@pytest.fixture
def stderr(capfd: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capfd


def test_noise_is_dropped_and_the_rest_passed_on(stderr: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        os.write(2, b"before\n" + NOISE + b"after")
    assert stderr.readouterr().err == "before\nafter"


def test_everything_or_a_pattern_can_be_dropped(stderr: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr(EVERYTHING):
        os.write(2, b"before\n")
    with quiet_stderr(re.compile(rb"^a")):
        os.write(2, b"ab\nba\n")
    assert stderr.readouterr().err == "ba\n"


def test_what_python_writes_appears_at_once(stderr: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        sys.stderr.write("progress\n")
        assert stderr.readouterr().err == "progress\n"


def test_a_log_handler_made_meanwhile_works_afterwards(stderr: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with quiet_stderr():
        handler = logging.StreamHandler()
    assert sys.stderr is before
    handler.emit(logging.makeLogRecord({"msg": "still here"}))
    assert stderr.readouterr().err == "still here\n"


def test_it_can_be_nested_and_survives_errors(stderr: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with quiet_stderr():
            with quiet_stderr(EVERYTHING):
                os.write(2, b"dropped\n")
            os.write(2, NOISE + b"kept\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    os.write(2, b"open\n")
    assert stderr.readouterr().err == "kept\nopen\n"


def test_a_process_without_standard_error_goes_on() -> None:
    code = (
        "import os; os.close(2)\n"
        "from services.common.models.native_logs import quiet_stderr\n"
        "with quiet_stderr(): print('fine')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "fine\n"
