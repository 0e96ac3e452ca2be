"""Runs a benchmark as a user does, in its shortest form."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT_S = 280.0


def figures(
    name: str, folder: Path, *options: str, seconds: float = 1.0, **environment: str
) -> dict[str, Any]:
    """Return the JSON that `python -m benchmarks.NAME --seconds N` writes; fails when it does."""
    file = folder / f"{name}.json"
    run = subprocess.run(
        (
            *(sys.executable, "-m", f"benchmarks.{name}"),
            *("--seconds", str(seconds), "--json", str(file)),
            *options,
        ),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    written: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return written
