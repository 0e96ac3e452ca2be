"""Where the real servers and clients are that the scripts in `.ci/tools` build."""

import hashlib
import os
import re
import shutil
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / ".ci" / "tools"


def cache_folder() -> Path:
    """Return the folder in which the scripts make one of their own each."""
    return Path(
        os.environ.get("FACET_TOOLS")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "facet", "tools")
    )


def tools_folder() -> Path:
    """Return the folder that build.sh fills, whether it has or not."""
    sources = (SOURCES / name for name in ("go.mod", "go.sum", "build.sh"))
    content = b"".join(source.read_bytes() for source in sources)
    return cache_folder() / hashlib.sha256(content).hexdigest()[:16]


def kustomize_folder() -> Path:
    """Return the folder that kustomize.sh fills, whether it has or not."""
    version = re.search(r"^version=(\S+)$", (SOURCES / "kustomize.sh").read_text(), re.MULTILINE)
    assert version is not None
    return cache_folder() / f"kustomize-{version[1]}"


def find_tool(name: str) -> Path | None:
    """Return the built tool of that name, else one on the PATH, else None."""
    for folder in (tools_folder(), kustomize_folder()):
        if (folder / name).is_file():
            return folder / name
    found = shutil.which(name)
    return Path(found) if found else None
