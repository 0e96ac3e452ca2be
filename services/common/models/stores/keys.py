"""What the names of an object store's files say.

<model>/<n>/claim              whoever created it may fill version n; stays for ever
<model>/<n>/<artefact>         uploaded next
<model>/<n>/manifest.json      written last: version n exists if and only if this does
<model>/releases/<m>.json      the mth change of what is served (releases.py)
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.common.errors import InvalidRequestError
from services.common.models.manifest import MANIFEST_FILE, check_name
from services.common.models.stores.filesystem import Info
from services.common.models.stores.interface import RELEASES, is_version

CLAIM: Final = "claim"


@dataclass(slots=True)
class ModelKeys:
    """The files of one model."""

    numbers: dict[int, dict[str, Info]] = field(default_factory=dict)
    """Number → file → what is known of it; of published versions and of others."""
    changes: set[int] = field(default_factory=set)
    """Numbers of the changes of releases."""

    @property
    def versions(self) -> list[int]:
        """The published versions, ascending."""
        return sorted(n for n, files in self.numbers.items() if MANIFEST_FILE in files)

    @property
    def next_number(self) -> int:
        """The lowest number above all that were ever used."""
        return 1 + max(self.numbers, default=0)

    @property
    def last_change(self) -> int:
        """Number of the last change; 0: there was none."""
        return max(self.changes, default=0)

    def stamp(self, version: int) -> int:
        """Return a number that changes when a file of the version does."""
        known = [
            (file, *(str(info.get(key)) for key in ("size", "ETag", "LastModified", "created")))
            for file, info in sorted(self.numbers[version].items())
        ]
        return zlib.crc32(repr(known).encode())


def read_keys(keys: Mapping[str, Info]) -> dict[str, ModelKeys]:
    """Return what lies under the root of a repository, by model; strange names are nothing."""
    found: dict[str, ModelKeys] = {}
    for key, info in keys.items():
        match key.split("/"):
            case [name, folder, file] if is_version(folder) and _is_model(name):
                files = found.setdefault(name, ModelKeys()).numbers.setdefault(int(folder), {})
                files[file] = info
            case [name, folder, file] if folder == RELEASES and _is_model(name):
                stem = file.removesuffix(".json")
                if file.endswith(".json") and is_version(stem):
                    found.setdefault(name, ModelKeys()).changes.add(int(stem))
    return found


def _is_model(name: str) -> bool:
    try:
        check_name(name)
    except InvalidRequestError:
        return False
    return True
