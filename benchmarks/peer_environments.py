"""A virtual environment for each peer, in a cache folder outside the repository."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from services.common.errors import ConfigurationError

PYTHON: Final = "python3.11"
INSTALL_TIMEOUT_S: Final = 600.0
COMPLETE: Final = "complete"


def same(*packages: str) -> list[str]:
    """Return the requirements that ask for the versions installed here."""
    return [f"{package}=={version(package)}" for package in packages]


def cache() -> Path:
    """The folder of all environments: FACET_PEERS, or facet/peers in the user's cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("FACET_PEERS") or base / "facet" / "peers")


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the interpreter of an environment that has the requirements; made when missing.

    Raises ConfigurationError with the reason when it cannot be made.
    """
    python = _system_python()
    folder = _folder(name, python, requirements)
    interpreter = folder / "bin" / "python"
    if not (folder / COMPLETE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        uv = Path(sys.executable).parent / "uv"
        _run(str(uv), "venv", "--quiet", "--python", python, str(folder))
        pip = (str(uv), "pip", "install", "--quiet", "--python", str(interpreter))
        _run(*pip, *requirements)
        (folder / COMPLETE).touch()
    return interpreter


def is_installed(name: str, requirements: Sequence[str]) -> bool:
    """Whether `environment` would find it made."""
    try:
        return (_folder(name, _system_python(), requirements) / COMPLETE).is_file()
    except ConfigurationError:
        return False


def _system_python() -> str:
    # The system's own: pytriton's server is linked to that one's library.
    python = shutil.which(PYTHON, path=os.defpath)
    if python is None:
        raise ConfigurationError(f"there is no {PYTHON} of the system")
    return python


def _folder(name: str, python: str, requirements: Sequence[str]) -> Path:
    key = hashlib.sha256("\n".join([python, *requirements]).encode()).hexdigest()[:16]
    return cache() / f"{name}-{key}"


def _run(*command: str) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no output"]
        raise ConfigurationError(f"it cannot be installed: {lines[-1].strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"it cannot be installed: {error}") from error
