"""The preprocessing service with a decoder that dies on one picture, as a faulty codec would."""

import os
import signal
from typing import Any
from unittest.mock import patch

from services.preprocessing import __main__ as preprocessing
from services.preprocessing.prepare import prepare

POISON = b"\x89PNG kills the decoder"


def crashing(content: bytes, *arguments: Any) -> Any:
    """Prepare a picture, or die."""
    if content == POISON:
        os.kill(os.getpid(), signal.SIGSEGV)
    return prepare(content, *arguments)


if __name__ == "__main__":
    with patch("services.preprocessing.servicer.prepare", crashing):
        preprocessing.main()
