"""The cluster as this gateway sees it: membership from the registry, the rest from the links."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from facet.cluster.v1 import cluster_pb2
from gateway.catalog import Catalog
from gateway.counts import RequestCounts
from gateway.performance import Performance
from services.common.registry import Instance, Registry, View
from services.common.rpc.fleet import Fleet
from services.common.rpc.leader import SCHEDULER_ROLE

UNLINKED: Final = ("gateway", "scheduler")
"""Services that the gateway has no link of calls to; it watches their membership only."""


class ClusterView:
    """Puts the view together, and tells when it changes."""

    def __init__(
        self,
        registry: Registry,
        fleets: Mapping[str, Fleet[Any]],
        catalog: Catalog,
        scheduler_connected: Callable[[], bool],
        scheduler_wasted: Callable[[], Mapping[str, int]],
        performance: Performance,
        counts: RequestCounts,
        gateways: int,
    ) -> None:
        """`gateways`: how many the cluster is to have."""
        self._registry = registry
        self._fleets = fleets
        self._catalog = catalog
        self._scheduler_connected = scheduler_connected
        self._scheduler_wasted = scheduler_wasted
        self._performance = performance
        self._counts = counts
        self._gateways = gateways
        self._unlinked: dict[str, View] = {service: View() for service in UNLINKED}
        self._leader: str | None = None
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Something that the view shows has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set at the next change after this moment; another one each time."""
        return self._changed

    def watchers(self) -> list[Coroutine[Any, Any, None]]:
        """What has to run in the background."""
        return [self._watch_leader(), *(self._watch(service) for service in UNLINKED)]

    @property
    def registry_reachable(self) -> bool:
        """The registry answers; else the view is what it said last."""
        return all(view.reachable for view in self._views)

    @property
    def _views(self) -> list[View]:
        return [*(fleet.view for fleet in self._fleets.values()), *self._unlinked.values()]

    def message(self) -> cluster_pb2.Cluster:
        """Return the view at this moment."""
        instances = [instance for view in self._views for instance in view.instances]
        instances.sort(key=lambda instance: (instance.service, instance.id))
        performance = self._performance.cluster()
        performance.requests.CopyFrom(self._counts.message())
        return cluster_pb2.Cluster(
            instances=[self._instance(instance) for instance in instances],
            registry_reachable=self.registry_reachable,
            missing=self._missing(),
            performance=performance,
        )

    @property
    def moves(self) -> bool:
        """Time alone changes what `message` returned last."""
        return self._performance.moves

    def unable(self) -> list[str]:
        """Say why this gateway can answer nothing; empty: it can."""
        missing = [
            f"no {name} instance can be reached"
            for name, fleet in self._fleets.items()
            if not any(link.up for link in fleet.links.values())
        ]
        if not self._catalog.served():
            missing.append("no model is served")
        return missing

    def _missing(self) -> list[str]:
        missing = self.unable()
        if not self._scheduler_connected():
            missing.append("no scheduler leads")
        there = len(self._unlinked["gateway"].instances)
        if there < self._gateways:
            missing.append(f"{there} of {self._gateways} gateways serve")
        return missing

    def _instance(self, instance: Instance) -> cluster_pb2.Instance:
        message = cluster_pb2.Instance(
            service=instance.service,
            id=instance.id,
            address=instance.address,
            state=self._state(instance),
        )
        report = self._catalog.reports.get(instance.id)
        if report is not None:
            message.models.extend(model.model for model in report.models)
            message.refused.extend(report.refused)
            message.load.CopyFrom(report.load)
        if (performance := self._performance.shard(instance.id)) is not None:
            message.performance.CopyFrom(performance)
        if self._leads(instance):
            message.wasted_images.update(self._scheduler_wasted())
        return message

    def _leads(self, instance: Instance) -> bool:
        return instance.service == "scheduler" and instance.address == self._leader

    def _state(self, instance: Instance) -> cluster_pb2.InstanceState:
        if instance.service == "scheduler" and not self._leads(instance):
            return cluster_pb2.INSTANCE_STATE_STANDBY
        fleet = self._fleets.get(instance.service)
        if fleet is not None:
            link = fleet.links.get(instance.id)
            if link is None or not link.up:
                return cluster_pb2.INSTANCE_STATE_UNREACHABLE
        return cluster_pb2.INSTANCE_STATE_SERVING

    async def _watch(self, service: str) -> None:
        async for view in self._registry.watch(service):
            self._unlinked[service] = view
            self.notify()

    async def _watch_leader(self) -> None:
        async for leader in self._registry.watch_leader(SCHEDULER_ROLE):
            self._leader = leader
            self.notify()
