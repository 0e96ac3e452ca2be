"""The `facet` command as a person runs it."""

import io
import os
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from facet.cli.entry import main
from tests.ports import free_port

FACET = Path(sys.executable).with_name("facet")
TIMEOUT_S = 100.0


def facet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return facet_within(TIMEOUT_S, *arguments, **environment)


def facet_within(
    timeout_s: float, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The same for one that takes longer than most."""
    return subprocess.run(
        [FACET, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )


def facet_here(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it in this process, which saves a second: for what a command does, not how it starts."""
    written, said = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(written),
        redirect_stderr(said),
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["facet", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(arguments, code, written.getvalue(), said.getvalue())


def says(done: subprocess.CompletedProcess[str], *texts: str) -> bool:
    """Standard error has the texts, however it is wrapped, and no traceback."""
    assert "Traceback" not in done.stderr
    flat = " ".join(done.stderr.replace("│", " ").split())
    return all(text in flat for text in texts)


class Up:
    """A `facet up` in the background."""

    def __init__(self, home: Path, models: Path, *arguments: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                *(FACET, "up", "--home", home, "--models", models, "--port", str(self.port)),
                *arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if "Ready" in line:
                self._ready.set()
        self._ready.set()

    def wait_ready(self) -> None:
        """Wait until it says so."""
        assert self._ready.wait(60)
        assert any("Ready" in line for line in self.said), self.said

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(60)
        finally:
            self._reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()
