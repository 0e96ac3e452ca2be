"""A real cluster for a benchmark: all services as processes of this machine."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.load import LoadPlan, RecognitionDoor
from facet.launcher.local_cluster import LocalCluster, run_cluster
from facet.launcher.plan import ClusterPlan
from facet.launcher.supervisor import Death
from services.common.security.identity import DEFAULT_TRUST_DOMAIN
from services.common.security.lab import make_lab

READY_S: Final = 120.0
SHARDS: Final = 2
"""One thread each: together as many as every reference has."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is ready."""

    gateway: str
    """host:port"""
    cluster: LocalCluster
    deaths: list[Death]

    @property
    def pids(self) -> dict[str, int]:
        """Process name → process id of what runs now."""
        return self.cluster.pids

    def load_plan(
        self, requests: Callable[[], Sequence[bytes]], images: int, callers: int
    ) -> LoadPlan:
        """Return the plan of a load on it; see LoadPlan."""
        door = partial(RecognitionDoor, tls_ca=self.cluster.tls_ca)
        return LoadPlan(self.gateway, requests, images, callers, self.pids, door)


def cluster_plan(
    home: Path,
    models: Path,
    instances: Mapping[str, int],
    settings: Mapping[str, str] = MappingProxyType({}),
) -> ClusterPlan:
    """Return the plan of a benchmark's cluster on a model repository."""
    return ClusterPlan(
        home=home,
        port=0,
        instances={"inference": SHARDS, **instances},
        settings={"FACET_MODELS": str(models), **settings},
    )


@contextmanager
def cluster(
    models: Path,
    instances: Mapping[str, int] = MappingProxyType({}),
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    tls: bool = False,
) -> Iterator[Cluster]:
    """Run a cluster; ready when it yields, all processes gone afterwards.

    Its supervisor lives on a thread and only waits. With `tls` all links and its door are TLS.
    """
    with tempfile.TemporaryDirectory(prefix="facet-benchmark-") as folder:
        plan = cluster_plan(Path(folder), models, instances, settings)
        if tls:
            plan = replace(plan, tls=plan.home / "tls")
            make_lab(plan.home / "tls", DEFAULT_TRUST_DOMAIN)
        host = _Host(plan)
        thread = threading.Thread(target=host.main, name="cluster")
        thread.start()
        try:
            host.ready.wait()
            if host.started is None:
                raise host.failure or RuntimeError("the cluster did not start")
            yield host.started
        finally:
            host.stop.set()
            thread.join()


class _Host:
    def __init__(self, plan: ClusterPlan) -> None:
        self._plan = plan
        self.ready = threading.Event()
        self.stop = threading.Event()
        self.started: Cluster | None = None
        self.failure: BaseException | None = None

    def main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self.failure = error
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        deaths: list[Death] = []
        async with run_cluster(self._plan, deaths.append) as running:
            async with asyncio.timeout(READY_S):
                gateway = await running.ready(lambda serving, missing: None)
            self.started = Cluster(gateway, running, deaths)
            self.ready.set()
            await asyncio.to_thread(self.stop.wait)
