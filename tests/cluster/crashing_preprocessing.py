"""The preprocessing service with a decoder that dies on one picture, as a faulty codec would, and
hangs on another."""

import os
import signal
import threading
from typing import Any
from unittest.mock import patch

from services.preprocessing import __main__ as preprocessing
from services.preprocessing.prepare import prepare

POISON = b"\x89PNG kills the decoder"
ENDLESS = b"\x89PNG never ends"
FAULTY = b"\x89PNG runs into a fault"


def crashing(content: bytes, *arguments: Any) -> Any:
    """Prepare a picture, or die, or never come back, or have a fault that nobody foresaw."""
    if bytes(content).startswith(FAULTY):
        raise RuntimeError("a fault")
    if content == ENDLESS:
        threading.Event().wait()
    if content == POISON:
        os.kill(os.getpid(), signal.SIGSEGV)
    return prepare(content, *arguments)


if __name__ == "__main__":
    with patch("services.preprocessing.servicer.prepare", crashing):
        preprocessing.main()
