"""A command in a terminal of its own, as a person sees it."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


class Terminal:
    """Runs a command in a pseudo-terminal of 100 x 24; everything it writes is kept."""

    def __init__(self, *command: str | Path) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.before = self.modes()
        self._written = ""
        self._grown = threading.Condition()
        self.process = subprocess.Popen(
            command,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def modes(self) -> list[Any]:
        """How the terminal is set: echo, line by line, and so on."""
        return termios.tcgetattr(self._theirs)

    def wait_for(self, text: str, after: int = 0) -> int:
        """Wait until it wrote that, behind a place that this returned before."""
        with self._grown:
            assert self._grown.wait_for(lambda: text in self._written[after:], PATIENCE_S), (
                self._written[-3000:]
            )
            return self._written.index(text, after) + len(text)

    @property
    def place(self) -> int:
        """The end of what it wrote so far."""
        with self._grown:
            return len(self._written)

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._ours, key.encode())

    def end(self) -> int:
        """Wait for the end of the command and return its exit code."""
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()

    def close(self) -> None:
        """Close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                written = os.read(self._ours, 65536)
            except OSError:  # nobody has its other side open any more
                return
            with self._grown:
                self._written += written.decode("utf-8", "replace")
                self._grown.notify_all()
