"""How much memory a shard may fill with models where nobody said so, and how much it fills."""

from pathlib import Path
from typing import Final

import psutil

SHARE: Final = 0.5
"""Of the memory of the machine, or of the control group that the process runs in."""
CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def resident_bytes() -> int:
    """Return how much memory this process has now."""
    return int(psutil.Process().memory_info().rss)


def default_budget(limit_file: Path = CGROUP_LIMIT) -> int:
    """Return a budget for models, bytes."""
    total = psutil.virtual_memory().total
    try:
        limit = limit_file.read_text(encoding="ascii").strip()
    except OSError:
        limit = "max"
    return int(SHARE * min(total, int(limit) if limit.isdecimal() else total))
