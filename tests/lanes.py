"""How tests share out among the processes of pytest-xdist.

Tests that start clusters go one after the other, in one process: they wait much and compute
little, some of them need names of the machine that are there once (namespaces, a storage of
images), and two clusters at a time would only make each other slow. The other processes run the
rest meanwhile, file by file, so that what a module's tests share is made once.
"""

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

CLUSTERS: Final = ("tests/benchmarks/", "tests/cluster/", "tests/containers/", "tests/hosts/")


class Lanes(LoadScopeScheduling):
    """One lane for all clusters, and one for each file of other tests."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        """See LoadScopeScheduling; in the order of the collection, clusters early."""
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return "clusters" if nodeid.startswith(CLUSTERS) else nodeid.split("::", 1)[0]
