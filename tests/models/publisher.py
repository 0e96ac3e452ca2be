"""A process that publishes versions: python -m tests.models.publisher ROOT NAME COUNT [pause]

Prints `building` when a version's files are written and `published N` when it is out. With
`pause` it waits for a line on its standard input while it builds.
"""

import sys
from pathlib import Path

from services.common.models.manifest import VersionContent
from services.common.models.repository import ModelRepository
from tests.models.contents import write_content


def main() -> None:
    """Publish COUNT versions."""
    root, name, count, *rest = sys.argv[1:]
    repository = ModelRepository(Path(root))

    def build(folder: Path) -> VersionContent:
        content = write_content(folder, model=bytes(200_000))
        say("building")
        if rest:
            sys.stdin.readline()
        return content

    for _ in range(int(count)):
        say(f"published {repository.publish(name, build).version}")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
