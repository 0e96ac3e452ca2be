"""A process that publishes versions: python -m tests.models.publisher URL NAME COUNT [pause]

Prints `building` when a version's files are written and `published N` when it is out. With
`pause` it waits for a line on its standard input while it builds. With `pause-upload` it does so
before each file that it uploads to an object store, having printed `uploading FILE`.
"""

import sys
from pathlib import Path

from services.common.models.manifest import VersionContent
from services.common.models.repository import ModelRepository
from services.common.models.stores.filesystem import Filesystem
from tests.models.contents import write_content


def main() -> None:
    """Publish COUNT versions."""
    url, name, count, *rest = sys.argv[1:]
    repository = ModelRepository.open(url)
    if "pause-upload" in rest:
        slow_uploads()

    def build(folder: Path) -> VersionContent:
        content = write_content(folder, model=bytes(200_000))
        say("building")
        if "pause" in rest:
            sys.stdin.readline()
        return content

    for _ in range(int(count)):
        say(f"published {repository.publish(name, build).version}")


def slow_uploads() -> None:
    """Wait for a line before each upload."""
    upload = Filesystem.upload

    def slow(self: Filesystem, local: Path, path: str) -> None:
        say(f"uploading {local.name}")
        sys.stdin.readline()
        upload(self, local, path)

    Filesystem.upload = slow  # type: ignore[method-assign]


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
