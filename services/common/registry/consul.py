"""The registry of a cluster of machines: Consul.

A service is `<prefix>-<service>`, a configuration value lies at `<prefix>/<key>`, the lock of a
role at `<prefix>/leaders/<role>`, and candidates appear as the service `<prefix>--candidate`; so
several clusters may share one Consul. With ACLs the token needs what
docker/consul/facet-policy.hcl allows, which is written for the prefix "facet".
"""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from services.common.registry.access import NO_ACCESS, ConsulAccess
from services.common.registry.consul_client import ConsulClient
from services.common.registry.consul_leadership import Candidacy, follow_leader
from services.common.registry.consul_watch import (
    ConsulRegistration,
    follow_instances,
    instances_query,
    parse_instances,
)
from services.common.registry.interface import Instance, Registration, Registry, View
from services.common.registry.names import check_candidate, check_instance, check_key, check_name
from services.common.registry.streams import Streams


class ConsulRegistry(Registry):
    """A registry in Consul, through one of its agents."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: bool = False,
        prefix: str = "facet",
        access: ConsulAccess = NO_ACCESS,
    ) -> None:
        """`tls`: the agent speaks HTTPS. Raises InvalidRequestError where `access` is no use."""
        self._client = ConsulClient(host, port, access, tls=tls)
        self._prefix = check_name(prefix, "cluster")
        self._streams = Streams()
        self._registrations: set[ConsulRegistration] = set()

    async def register(self, instance: Instance) -> Registration:
        """Enter an instance with a gRPC health check at its address; see Registry."""
        registration = ConsulRegistration(self._client, self._prefix, check_instance(instance))
        self._registrations.add(registration)
        await registration.begin()
        return registration

    async def instances(self, service: str) -> tuple[Instance, ...]:
        """Return the instances that pass their check; see Registry."""
        query = instances_query(self._client, self._prefix, check_name(service, "service"))
        return parse_instances(self._prefix, service, await query.answer())

    def watch(self, service: str) -> AsyncGenerator[View, None]:
        """Yield the view of a service; see Registry."""
        check_name(service, "service")
        return self._streams.open(partial(follow_instances, self._client, self._prefix, service))

    def campaign(self, role: str, candidate: str) -> AsyncGenerator[bool, None]:
        """Stand for a role; see Registry."""
        check_name(role, "role")
        candidacy = Candidacy(self._client, self._prefix, role, check_candidate(candidate))
        return self._streams.open(candidacy.run, depth=2)

    def watch_leader(self, role: str) -> AsyncGenerator[str | None, None]:
        """Yield who holds a role; see Registry."""
        check_name(role, "role")
        return self._streams.open(partial(follow_leader, self._client, self._prefix, role))

    async def get(self, key: str) -> bytes | None:
        """Return a configuration value; see Registry."""
        path = self._path(key)
        _, entry = await self._client.call(lambda api: api.kv.get(path))
        # Consul writes an empty value as null.
        return None if entry is None else _bytes(entry["Value"])

    async def put(self, key: str, value: bytes) -> None:
        """Set a configuration value; see Registry."""
        path = self._path(key)
        await self._client.call(lambda api: api.kv.put(path, value))

    async def delete(self, key: str) -> None:
        """Unset a configuration value; see Registry."""
        path = self._path(key)
        await self._client.call(lambda api: api.kv.delete(path))

    async def close(self) -> None:
        """Leave; see Registry."""
        await asyncio.gather(*(registration.withdraw() for registration in self._registrations))
        await self._streams.close()
        await self._client.close()

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{check_key(key)}"


def _bytes(value: Any) -> bytes:
    return value or b""
