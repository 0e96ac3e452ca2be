"""A process in which packages cannot be found, as on a machine where they are not installed."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class _HidingFinder:
    """The finder of installed packages, but for some."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if name.partition(".")[0] in self._packages:
            return None
        return PathFinder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(PathFinder, name)


def hide(*packages: str) -> None:
    """Let this process find none of these packages from now on."""
    assert not sys.modules.keys() & set(packages)
    place = sys.meta_path.index(PathFinder)
    sys.meta_path[place] = _HidingFinder(packages)
