"""Leadership in Consul: a session that dies with its candidate, and a lock on a key.

A candidate enters itself in Consul as a service with a TTL check, creates a session tied to
that check, and locks the key `<prefix>/leaders/<role>` with it, as soon as nobody else does.
A session's own TTL could not be below 10 s; the check's can. Every beat renews the check, asks
for the key (the answer comes at once when it changes), and tries to lock it when it is free.

Why no two lead at once. The lease of a leader begins before the request that renews it, so it
ends LEASE_S later at most; then it yields False, whether Consul answers or not. Consul takes
the lock away when the check was not renewed for CHECK_TTL_S, which is longer and begins later,
and for LOCK_DELAY_S more nobody can have it. Other ways to lose it are slower (the agent's
machine must be missed by the others) or seen at once (the key has another holder). After an
outage a candidate waits for a lease before it locks a free key: a restarted Consul may have
forgotten a leader that has not noticed yet.

After a SIGKILL the next one leads in CHECK_TTL_S + LOCK_DELAY_S + BEAT_S at most; after a
resignation at once.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import consul

from services.common.errors import RegistryError
from services.common.registry.consul_client import Backoff, ConsulClient, Query
from services.common.registry.consul_watch import FORGET_AFTER_S, service_name
from services.common.registry.names import LEADERS
from services.common.registry.streams import Feed
from services.common.registry.trouble import Trouble

BEAT_S: Final = 0.3
LEASE_S: Final = 1.9
CHECK_TTL_S: Final = 2.2
LOCK_DELAY_S: Final = 0.3
BEAT_TIMEOUT_S: Final = 1.0
RESIGN_TIMEOUT_S: Final = 1.0

_log = logging.getLogger(__name__)


class Candidacy:
    """One candidate standing for one role, from `run` until that is cancelled."""

    def __init__(self, client: ConsulClient, prefix: str, role: str, candidate: str) -> None:
        self._client = client
        self._key = leader_key(prefix, role)
        self._candidate = candidate
        # No service can be called that, since no name begins with a dash.
        self._service = service_name(prefix, "-candidate")
        self._id = f"{self._service}-{role}-{uuid.uuid4().hex[:12]}"
        self._session: str | None = None
        self._query = leader_query(client, prefix, role, BEAT_S)
        self._trouble = Trouble(_log, f"{candidate} standing for {role}")
        self._no_lock_before = 0.0

    async def run(self, feed: Feed[bool]) -> None:
        """Publish whether the candidate leads, at once and at every change."""
        lease = _Lease(feed)
        backoff = Backoff(BEAT_S)
        clock = asyncio.get_running_loop().time
        feed.publish(False)
        try:
            while True:
                try:
                    await self._beat(lease)
                except RegistryError as error:
                    self._trouble.is_on(error)
                    self._no_lock_before = clock() + LEASE_S
                    await backoff.pause()
                else:
                    self._trouble.is_over()
                    backoff.reset()
        finally:
            lease.end()
            await self._resign()

    async def _beat(self, lease: "_Lease") -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        known = await self._call(lambda api: api.agent.check.ttl_pass(f"service:{self._id}"))
        if not known:
            await self._register()
            await self._forget_dead_session()
        if self._session is None:
            self._session = await self._new_session()
        entry = await self._query.answer()
        holder = (entry or {}).get("Session")
        if holder is None and clock() >= self._no_lock_before:
            holder = await self._lock()
        if holder is not None and holder == self._session:
            lease.renew(began + LEASE_S)
        else:
            lease.end()

    async def _register(self) -> None:
        check = consul.Check.ttl(f"{CHECK_TTL_S}s") | {
            "status": "passing",
            "DeregisterCriticalServiceAfter": f"{FORGET_AFTER_S}s",
        }
        await self._call(
            lambda api: api.agent.service.register(
                self._service, service_id=self._id, check=check, meta={"key": self._key}
            )
        )

    async def _new_session(self) -> str:
        # The agent tells the servers of the check a moment after it took it; until then they
        # refuse the session.
        for pause_s in (0.02, 0.05, 0.1, 0.2, 0.4):
            with contextlib.suppress(RegistryError):
                return await self._create_session()
            await asyncio.sleep(pause_s)
        return await self._create_session()

    async def _create_session(self) -> str:
        session: str = await self._call(
            lambda api: api.session.create(
                name=self._id,
                checks=["serfHealth", f"service:{self._id}"],
                lock_delay=LOCK_DELAY_S,
            )
        )
        return session

    async def _lock(self) -> str | None:
        session = self._session
        try:
            locked = await self._call(
                lambda api: api.kv.put(self._key, self._candidate, acquire=session)
            )
        except RegistryError:
            # Either the session is over, since the check was renewed too late, and the next beat
            # makes another; or the lock may be ours although the answer was lost.
            await self._forget_dead_session()
            if self._session is not None:
                raise
            return None
        return session if locked else None

    async def _forget_dead_session(self) -> None:
        # A living one is kept: it may hold the lock, and its check is renewed, so that a lock
        # under a session that nobody remembers would stay for ever.
        session = self._session
        if session is not None:
            _, found = await self._call(lambda api: api.session.info(session))
            if found is None:
                self._session = None

    async def _resign(self) -> None:
        session = self._session
        with contextlib.suppress(RegistryError, TimeoutError):
            async with asyncio.timeout(RESIGN_TIMEOUT_S):
                if session is not None:
                    await self._call(
                        lambda api: api.kv.put(self._key, self._candidate, release=session)
                    )
                    await self._call(lambda api: api.session.destroy(session))
                await self._call(lambda api: api.agent.service.deregister(self._id))

    async def _call(self, request: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self._client.call(request, BEAT_TIMEOUT_S)


class _Lease:
    """Says that the candidate leads, and takes it back when nobody renews it in time."""

    def __init__(self, feed: Feed[bool]) -> None:
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def renew(self, until: float) -> None:
        """Lead until that time of the loop's clock."""
        self._stop_timer()
        if until <= self._loop.time():
            self._feed.publish(False)
            return
        self._timer = self._loop.call_at(until, self._feed.publish, False)
        self._feed.publish(True)

    def end(self) -> None:
        """Lead no longer."""
        self._stop_timer()
        self._feed.publish(False)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def follow_leader(
    client: ConsulClient, prefix: str, role: str, feed: Feed[str | None]
) -> None:
    """Publish the candidate that leads, or None, at once and at every change."""
    query = leader_query(client, prefix, role)
    trouble = Trouble(_log, f"watching the leader of {role}")
    backoff = Backoff()
    leader = None
    while True:
        try:
            entry = await query.answer()
        except RegistryError as error:
            trouble.is_on(error)
            feed.publish(leader)
            await backoff.pause()
            continue
        trouble.is_over()
        backoff.reset()
        leader = _candidate_of(entry)
        feed.publish(leader)


def _candidate_of(entry: Any) -> str | None:
    # Without a session the value is only the last leader's name.
    if entry is None or not entry.get("Session"):
        return None
    return (entry["Value"] or b"").decode(errors="replace")


def leader_query(
    client: ConsulClient, prefix: str, role: str, wait_s: float | None = None
) -> Query[Any]:
    """Return the query for the key that a leader holds."""
    key = leader_key(prefix, role)

    def ask(api: Any, index: int | None, wait: str) -> Any:
        return api.kv.get(key, index=index, wait=wait)

    return Query(client, ask) if wait_s is None else Query(client, ask, wait_s)


def leader_key(prefix: str, role: str) -> str:
    """Return the key whose lock means leadership."""
    return f"{prefix}/{LEADERS}/{role}"
