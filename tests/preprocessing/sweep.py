"""Prepares every file of a folder inside 4 GiB of address space; one JSON object says what came.

    python -W error -m tests.preprocessing.sweep FOLDER

Its keys: "files" (path → reason, or null for pixels), "seconds" of the slowest file, and
"grown_mib", by how much the process's largest size grew.
"""

import json
import resource
import sys
import time
from pathlib import Path

import cv2

from services.common.errors import ImageError
from services.common.models.input_spec import InputSpec
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare

SPECS = (InputSpec(224, 224, 3, 256), InputSpec(28, 28, 1))


def outcome(content: bytes) -> str | None:
    """Return the reason why there are no pixels, the same for every spec; None when there are."""
    reasons: set[str | None] = set()
    for spec in SPECS:
        try:
            pixels = prepare(content, spec, Limits())
        except ImageError as error:
            reasons.add(error.reason)
        else:
            if pixels.shape != spec.shape or pixels.dtype != "uint8":
                raise AssertionError(f"{pixels.shape} {pixels.dtype}")
            reasons.add(None)
    (reason,) = reasons
    return reason


def main() -> None:
    """Sweep the folder that the command line names."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    cv2.setNumThreads(1)
    folder = Path(sys.argv[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files, slowest = {}, 0.0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        start = time.process_time()
        files[str(path.relative_to(folder))] = outcome(content)
        slowest = max(slowest, time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    json.dump({"files": files, "seconds": slowest, "grown_mib": grown}, sys.stdout)


if __name__ == "__main__":
    main()
