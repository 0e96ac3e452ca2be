"""Where the real servers and clients are that `.ci/tools/build.sh` builds."""

import hashlib
import os
import shutil
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / ".ci" / "tools"


def tools_folder() -> Path:
    """Return the folder that build.sh fills, whether it has or not."""
    cache = os.environ.get("FACET_TOOLS") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "facet", "tools"
    )
    sources = (SOURCES / name for name in ("go.mod", "go.sum", "build.sh"))
    content = b"".join(source.read_bytes() for source in sources)
    return Path(cache, hashlib.sha256(content).hexdigest()[:16])


def find_tool(name: str) -> Path | None:
    """Return the built tool of that name, else one on the PATH, else None."""
    built = tools_folder() / name
    if built.is_file():
        return built
    found = shutil.which(name)
    return Path(found) if found else None
