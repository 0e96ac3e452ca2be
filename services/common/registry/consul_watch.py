"""Membership in Consul: keeping an instance registered, following who is healthy."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import consul

from services.common.errors import RegistryError
from services.common.registry.consul_client import Backoff, ConsulClient, Query
from services.common.registry.interface import Instance, Registration, View
from services.common.registry.streams import Feed
from services.common.registry.trouble import Trouble

CHECK_INTERVAL_S: Final = 1
CHECK_TIMEOUT_S: Final = 2
FORGET_AFTER_S: Final = 60
"""How long an instance may fail its check before Consul forgets it; Consul's least is this."""

LOOK_S: Final = 1.0
"""How often a registration asks whether the agent still knows it."""

GRACE_S: Final = 5.0
"""How long the instances from before an outage are kept after it.

A Consul that was restarted answers before the services have registered again (they ask every
second) and before their checks have passed (another second), and would empty every view.
"""

_log = logging.getLogger(__name__)


class ConsulRegistration(Registration):
    """A service instance of the agent that is registered again when the agent forgot it."""

    def __init__(self, client: ConsulClient, prefix: str, instance: Instance) -> None:
        self._client = client
        self._name = service_name(prefix, instance.service)
        self._id = f"{self._name}-{instance.id}"
        self._instance = instance
        self._trouble = Trouble(_log, f"the registration of {instance.service} {instance.id}")
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Register and stay registered; RegistryError when the first time fails."""
        # It serves, or it would not register: seen at once, not after the first check.
        await self._register("passing")
        self._task = asyncio.create_task(self._keep())

    async def withdraw(self) -> None:
        """Deregister; see Registration."""
        self._stop.set()
        if self._task is None:
            return
        # Not cancelled: a registration on its way could overtake the deregistration.
        await asyncio.wait([self._task])
        self._task = None
        with contextlib.suppress(RegistryError):
            await self._client.call(lambda api: api.agent.service.deregister(self._id))

    async def _register(self, status: str) -> None:
        instance = self._instance
        check = consul.Check.grpc(
            instance.health_address,
            f"{CHECK_INTERVAL_S}s",
            timeout=f"{CHECK_TIMEOUT_S}s",
            deregister=f"{FORGET_AFTER_S}s",
        )
        await self._client.call(
            lambda api: api.agent.service.register(
                self._name,
                service_id=self._id,
                address=instance.host,
                port=instance.port,
                meta=dict(instance.meta),
                check=check | {"status": status},
            )
        )

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stop.wait()
                    return
            try:
                known = await self._client.call(lambda api: api.agent.service_definition(self._id))
                if known is None and not self._stop.is_set():
                    # Whether it serves by now is for the check to say.
                    await self._register("critical")
            except RegistryError as error:
                self._trouble.is_on(error)
            else:
                self._trouble.is_over()


class Grace:
    """Keeps the instances from before an outage for a while after it, if they are missing."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._until = 0.0
        self._held: dict[str, Instance] = {}

    def begin(self, now: float, instances: Iterable[Instance]) -> None:
        """Consul answers again: hold these until they are back, but not for ever."""
        self._held = {instance.id: instance for instance in instances}
        self._until = now + self._grace_s

    def apply(self, now: float, seen: Iterable[Instance]) -> tuple[Instance, ...]:
        """Return what is to be shown when Consul tells of these, sorted by id."""
        shown = {instance.id: instance for instance in seen}
        # Back once is back: later absence is news, not forgetfulness.
        for name in shown:
            self._held.pop(name, None)
        if now >= self._until:
            self._held.clear()
        return tuple(sorted((self._held | shown).values(), key=lambda instance: instance.id))

    def remaining_s(self, now: float) -> float | None:
        """Seconds until `apply` would show less; None: it holds nothing."""
        return max(0.0, self._until - now) if self._held else None


async def follow_instances(
    client: ConsulClient, prefix: str, service: str, feed: Feed[View]
) -> None:
    """Publish the view of a service at once and at every change."""
    query = instances_query(client, prefix, service)
    trouble = Trouble(_log, f"the watch of {service}")
    backoff, grace, view = Backoff(), Grace(), View()
    clock = asyncio.get_running_loop().time
    while True:
        try:
            entries = await query.answer(grace.remaining_s(clock()))
        except RegistryError as error:
            trouble.is_on(error)
            feed.publish(View(view.instances, reachable=False))
            await backoff.pause()
            continue
        trouble.is_over()
        backoff.reset()
        if query.restarted:
            grace.begin(clock(), view.instances)
        view = View(grace.apply(clock(), parse_instances(prefix, service, entries)))
        feed.publish(view)


def instances_query(client: ConsulClient, prefix: str, service: str) -> Query[list[Any]]:
    """Return the query for the healthy instances of a service, as Consul describes them."""
    name = service_name(prefix, service)

    async def ask(api: Any, index: int | None, wait: str) -> tuple[str, list[Any]]:
        answer: tuple[str, list[Any]] = await api.health.service(
            name, passing=True, index=index, wait=wait
        )
        if not answer[1]:
            await api.http.get(_refuse_if_denied, f"/v1/agent/health/service/name/{name}")
        return answer

    return Query(client, ask)


def parse_instances(prefix: str, service: str, entries: list[Any]) -> tuple[Instance, ...]:
    """Return the instances that Consul describes, sorted by id."""
    before_id = f"{service_name(prefix, service)}-"
    found = [
        Instance(
            service,
            entry["Service"]["ID"].removeprefix(before_id),
            entry["Service"]["Address"] or entry["Node"]["Address"],
            entry["Service"]["Port"],
            entry["Service"]["Meta"] or {},
        )
        for entry in entries
    ]
    return tuple(sorted(found, key=lambda instance: instance.id))


def _refuse_if_denied(response: Any) -> None:
    # To a token that may not read a service, Consul's health endpoint says that there is none;
    # the agent's own says why.
    if response.code == HTTPStatus.FORBIDDEN:
        raise consul.ACLPermissionDenied(response.body)


def service_name(prefix: str, service: str) -> str:
    """Return what Consul calls a service of this cluster."""
    return f"{prefix}-{service}"
