"""What a registry does, whichever it is.

Every method raises RegistryError when the registry cannot be reached or refuses; the watches
and campaigns never do: they carry on from the last view and recover by themselves. Names that
not every registry could hold are an InvalidRequestError (see `names`).
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final

HEALTH_PORT_KEY: Final = "health_port"
"""Key of an instance's metadata: where it serves grpc.health.v1 in plain text."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running process of a service."""

    service: str
    """Such as "inference"."""
    id: str
    """Unique in the cluster, for the life of the process."""
    host: str
    """Where other processes reach it."""
    port: int
    meta: Mapping[str, str] = field(default_factory=dict)
    """Small facts that hold for the life of the process: at most 64, values of 512 characters."""

    @property
    def address(self) -> str:
        """host:port, with an IPv6 host in brackets."""
        return self._at(self.port)

    @property
    def health_address(self) -> str:
        """host:port of grpc.health.v1 in plain text: a port of its own, where there is one."""
        return self._at(self.meta.get(HEALTH_PORT_KEY, self.port))

    def _at(self, port: int | str) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


@dataclass(frozen=True, slots=True)
class View:
    """The healthy instances of one service, sorted by id."""

    instances: tuple[Instance, ...] = ()
    reachable: bool = True
    """False: the registry does not answer, and `instances` is what it said last."""


class Registration(ABC):
    """An instance's membership, kept up until it is withdrawn."""

    @abstractmethod
    async def withdraw(self) -> None:
        """Leave the registry. Idempotent; succeeds as far as it can without the registry."""


class Registry(ABC):
    """One cluster's registry, as seen by one process."""

    @abstractmethod
    async def register(self, instance: Instance) -> Registration:
        """Enter an instance that serves grpc.health.v1 at its health address; keep it entered.

        A registry that loses the entry (it was restarted, say) gets it again without being asked.
        """

    @abstractmethod
    async def instances(self, service: str) -> tuple[Instance, ...]:
        """Return the healthy instances of a service, sorted by id."""

    @abstractmethod
    def watch(self, service: str) -> AsyncGenerator[View, None]:
        """Yield the view of a service at once, and again after every change of it."""

    @abstractmethod
    def campaign(self, role: str, candidate: str) -> AsyncGenerator[bool, None]:
        """Stand for a role that one candidate of the cluster holds at a time.

        Yields at once whether this candidate leads, and again at every change. Closing the
        generator resigns. A leader that cannot reach the registry yields False no later than
        another candidate can win.
        """

    @abstractmethod
    def watch_leader(self, role: str) -> AsyncGenerator[str | None, None]:
        """Yield the candidate that holds a role (None: nobody) at once, and after every change."""

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """Return a configuration value (None: not set)."""

    @abstractmethod
    async def put(self, key: str, value: bytes) -> None:
        """Set a configuration value; keys are words joined by slashes."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Unset a configuration value; no error when it is not set."""

    @abstractmethod
    async def close(self) -> None:
        """Withdraw every registration of this object, end its watches and free its resources.

        A campaign that leads yields False before it ends.
        """
