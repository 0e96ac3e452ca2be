"""How much memory the process may take: setrlimit(2), RLIMIT_DATA.

It counts what is private and writable, which is what decoders ask for; memory that gateways share
does not count. Who asks for more gets none: the picture fails, and its batch-mates live.
"""

import resource
from pathlib import Path

BYTES_PER_PIXEL = 16
"""Of the worst picture while it is decoded; see Limits."""
HEADROOM_BYTES = 1 << 30
"""For all that is not decoding: messages, results, and what allocators keep."""


def enough_bytes(threads: int, max_pixels: int) -> int:
    """Return the memory in which so many of the largest pictures can be decoded at once."""
    return threads * max_pixels * BYTES_PER_PIXEL + HEADROOM_BYTES


def limit_memory(more_bytes: int) -> None:
    """Let this process take so many bytes more than it has now, whatever it frees."""
    limit = data_bytes() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def data_bytes() -> int:
    """Return what counts already, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    return pages * resource.getpagesize()
