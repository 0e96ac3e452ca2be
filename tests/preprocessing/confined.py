"""A process whose decoders do what they must not; what became of it is its output, as JSON.

python -m tests.preprocessing.confined (files FOLDER | memory | hang | hang-with-lock)
"""

import asyncio
import ctypes
import json
import mmap
import os
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from services.common.errors import ImageError
from services.common.logs import configure_logging
from services.preprocessing.confinement.landlock import confine_decoder
from services.preprocessing.confinement.memory import limit_memory
from services.preprocessing.confinement.watchdog import Watchdog
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare
from tests.models.contents import SPEC
from tests.preprocessing.pictures import chunk, png_header


def png(side: int) -> bytes:
    """A picture that is black, made row by row: what its making took, decoders could use again."""
    packing = zlib.compressobj(1)
    rows = [packing.compress(bytes(1 + 3 * side)) for _ in range(side)]
    data = b"".join((*rows, packing.flush()))
    header = png_header(side, side)
    return header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def outcome(what: Callable[[], Any]) -> str:
    """Say what became of it."""
    try:
        what()
    except OSError as error:
        return os.strerror(error.errno or 0)
    except ImageError as error:
        return error.reason
    return "done"


def files(folder: str) -> dict[str, str]:
    """Writing in every way, in a decoder's thread; and what a decoder has to be able to do."""
    root = Path(folder)
    (root / "there").write_text("content")
    (root / "empty").mkdir()
    arena = os.memfd_create("arena")
    os.ftruncate(arena, 4096)
    memory = mmap.mmap(arena, 4096)
    picture = png(8)

    def share() -> None:
        memory[:1] = b"x"

    attempts: dict[str, Callable[[], Any]] = {
        "make": lambda: (root / "new").write_text("x"),
        "write": lambda: (root / "there").open("r+"),
        "append": lambda: (root / "there").open("a"),
        "truncate": lambda: os.truncate(root / "there", 0),
        "remove": lambda: (root / "there").unlink(),
        "rename": lambda: (root / "there").rename(root / "else"),
        "mkdir": lambda: (root / "folder").mkdir(),
        "rmdir": lambda: (root / "empty").rmdir(),
        "link": lambda: (root / "link").symlink_to("there"),
        "shm": lambda: Path("/dev/shm/facet-confined").write_text("x"),
        "run": lambda: os.posix_spawn("/bin/sh", ["sh", "-c", f"echo x > {root}/new"], {}),
        "read": lambda: (root / "there").read_text(),
        "decode": lambda: prepare(picture, SPEC, Limits()),
        "share": share,
    }
    with ThreadPoolExecutor(1, initializer=confine_decoder) as pool:
        found = {name: pool.submit(outcome, what).result() for name, what in attempts.items()}
        status = pool.submit(lambda: Path("/proc/thread-self/status").read_text()).result()
    os.wait()
    found["no_new_privs"] = str("NoNewPrivs:\t1" in status)
    found["left"] = " ".join(sorted(path.name for path in root.iterdir()))
    found["event loop"] = outcome(lambda: (root / "registered").write_text("x"))
    return found


def memory() -> dict[str, str]:
    """A picture that needs more than there is, between others."""
    small, large = png(64), png(5_000)
    prepare(small, SPEC, Limits())
    limit_memory(64 << 20)
    limits = Limits()
    return {
        name: outcome(lambda content=content: prepare(content, SPEC, limits))  # type: ignore[misc]
        for name, content in (("before", small), ("large", large), ("after", small))
    }


async def hang(decode: Callable[[], Any]) -> None:
    """A picture that never comes to its end."""
    watchdog = Watchdog(0.2)

    def run() -> None:
        watchdog.begin()
        decode()

    threading.Thread(target=run, daemon=True).start()
    await watchdog.run()


def main() -> None:
    """Do one of them."""
    configure_logging("json", "info")
    match sys.argv[1:]:
        case ["files", folder]:
            found = files(folder)
        case ["memory"]:
            found = memory()
        case ["hang"]:
            asyncio.run(hang(threading.Event().wait))
        case ["hang-with-lock"]:
            # A function of the C library that is called with the interpreter's lock held; begun
            # when the watchdog has looked once.
            sleep = ctypes.PyDLL(None).usleep
            asyncio.run(hang(lambda: (threading.Event().wait(0.12), sleep(60_000_000))))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
