"""Links to all instances of a service, kept in step with the registry."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, Protocol, TypeVar

import structlog

from services.common.deadline import Deadline
from services.common.errors import UnavailableError
from services.common.registry import Instance, Registry, View

log = structlog.get_logger(__name__)

AFTER_S: Final = 0.01
"""So long after a deadline an instance is given up: those who wait for the answer have heard of it
first, as theirs."""


class FleetLink(Protocol):
    """What a fleet asks of a link; see `links.Link`."""

    @property
    def up(self) -> bool:
        """Calls can be sent."""

    @property
    def in_flight(self) -> int:
        """Calls that wait for their response."""

    async def run(self) -> None:
        """Keep the link up until it is retired and idle."""

    def retire(self) -> None:
        """Let `run` return once the link is idle."""


L = TypeVar("L", bound=FleetLink)


class Fleet(Generic[L]):
    """All instances of one service that the registry names, and a link to each.

    `connect(instance, on_change)` makes a link; the link calls `on_change` when it goes up or
    down. `on_change` of the fleet is called then too, and when instances come and go.
    """

    def __init__(
        self,
        registry: Registry,
        service: str,
        connect: Callable[[Instance, Callable[[], None]], L],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.service = service
        self.view = View()
        self._registry = registry
        self._connect = connect
        self._on_change = on_change
        self._links: dict[str, L] = {}
        self._changed = asyncio.Event()

    @property
    def links(self) -> Mapping[str, L]:
        """Instance id → link, of the instances that the registry names."""
        return self._links

    async def run(self) -> None:
        """Follow the registry until cancelled."""
        async with asyncio.TaskGroup() as running:
            async for view in self._registry.watch(self.service):
                self._apply(view, running)

    async def pick(self, deadline: Deadline, avoid: Iterable[str] = ()) -> tuple[str, L]:
        """Return the id and link of the instance with the fewest calls in flight.

        Those named in `avoid` come last. Waits for an instance until the deadline, then raises
        UnavailableError (NO_INSTANCE).
        """
        avoided = frozenset(avoid)
        while True:
            up = [(name, link) for name, link in self._links.items() if link.up]
            if up:
                return min(up, key=lambda item: (item[0] in avoided, item[1].in_flight))
            if not await self._change(deadline):
                raise UnavailableError(f"no {self.service} instance can be reached")

    async def wait_for(self, name: str, deadline: Deadline) -> L | None:
        """Return the link to one instance once it is up; None when it is not by the deadline."""
        while True:
            link = self._links.get(name)
            if link is not None and link.up:
                return link
            if not await self._change(deadline):
                return None

    async def _change(self, deadline: Deadline) -> bool:
        try:
            async with asyncio.timeout(deadline.remaining_s + AFTER_S):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _apply(self, view: View, running: asyncio.TaskGroup) -> None:
        if view.reachable != self.view.reachable:
            log.warning(
                "registry reachable again"
                if view.reachable
                else "registry unreachable; serving from its last view",
                service=self.service,
            )
        self.view = view
        named = {instance.id: instance for instance in view.instances}
        for name in self._links.keys() - named.keys():
            self._links.pop(name).retire()
            log.info("instance left", peer_service=self.service, peer=name)
        for name in sorted(named.keys() - self._links.keys()):
            self._links[name] = link = self._connect(named[name], self._notify)
            log.info("instance joined", peer_service=self.service, peer=name)
            running.create_task(link.run(), name=f"link to {name}")
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_change()
