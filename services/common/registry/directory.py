"""The embedded registry: a directory on one machine, for processes that share its kernel.

Entries carry their process (number and start); a dead process's entry counts for nothing and is
removed by whoever sees it. inotify and pidfds tell of changes and deaths at once; where the
kernel has none of them, everything is looked at twice a second. When the directory is removed
under running processes, they make it again and enter themselves again.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Generator
from functools import partial
from pathlib import Path

from services.common.errors import RegistryError
from services.common.following.inotify import Folders
from services.common.registry.alarm import POLL_S, Alarm
from services.common.registry.directory_files import Entry, read_entries, write_entry, write_whole
from services.common.registry.directory_leadership import Candidacy, follow_leader
from services.common.registry.interface import Instance, Registration, Registry, View
from services.common.registry.names import (
    LEADERS,
    check_candidate,
    check_instance,
    check_key,
    check_name,
)
from services.common.registry.processes import Process
from services.common.registry.streams import Feed, Streams
from services.common.registry.trouble import Trouble

_log = logging.getLogger(__name__)


class DirectoryRegistry(Registry):
    """A registry in a directory, which is made at first use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders = Folders()
        self._streams = Streams()
        self._registrations: set[_DirectoryRegistration] = set()
        self._closed = False

    async def register(self, instance: Instance) -> Registration:
        """Enter an instance of this very process; see Registry."""
        check_instance(instance)
        with self._files():
            registration = _DirectoryRegistration(
                self._folders, self._instances(instance.service), instance
            )
        self._registrations.add(registration)
        return registration

    async def instances(self, service: str) -> tuple[Instance, ...]:
        """Return the instances whose processes live; see Registry."""
        check_name(service, "service")
        with self._files(), contextlib.suppress(FileNotFoundError):
            return _view(read_entries(self._instances(service))).instances
        return ()

    def watch(self, service: str) -> AsyncGenerator[View, None]:
        """Yield the view of a service; see Registry."""
        folder = self._instances(check_name(service, "service"))
        return self._streams.open(partial(_follow_instances, self._folders, folder))

    def campaign(self, role: str, candidate: str) -> AsyncGenerator[bool, None]:
        """Stand for a role; see Registry."""
        candidacy = Candidacy(
            self._folders,
            self._root / LEADERS,
            check_name(role, "role"),
            check_candidate(candidate),
        )
        return self._streams.open(candidacy.run, depth=2)

    def watch_leader(self, role: str) -> AsyncGenerator[str | None, None]:
        """Yield who holds a role; see Registry."""
        check_name(role, "role")
        return self._streams.open(partial(follow_leader, self._folders, self._root / LEADERS, role))

    async def get(self, key: str) -> bytes | None:
        """Return a configuration value; see Registry."""
        path = self._value(key)
        with self._files(), contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        return None

    async def put(self, key: str, value: bytes) -> None:
        """Set a configuration value; see Registry."""
        path = self._value(key)
        with self._files():
            write_whole(path, value)

    async def delete(self, key: str) -> None:
        """Unset a configuration value; see Registry."""
        path = self._value(key)
        with self._files():
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Leave; see Registry."""
        self._closed = True
        for registration in self._registrations:
            await registration.withdraw()
        await self._streams.close()
        self._folders.close()

    def _instances(self, service: str) -> Path:
        return self._root / "instances" / service

    def _value(self, key: str) -> Path:
        return self._root / "kv" / check_key(key).replace("/", "%2F")

    @contextlib.contextmanager
    def _files(self) -> Generator[None, None, None]:
        if self._closed:
            raise RegistryError(f"the registry {self._root} is closed")
        try:
            yield
        except OSError as error:
            raise RegistryError(f"the registry {self._root} cannot be used: {error}") from error


class _DirectoryRegistration(Registration):
    """An entry that is written again when it disappears."""

    def __init__(self, folders: Folders, folder: Path, instance: Instance) -> None:
        self._folder = folder
        self._entry = Entry(instance, Process.current())
        self._file = write_entry(folder, self._entry)
        self._alarm = Alarm(folders, folder)
        self._trouble = Trouble(_log, f"the entry of {instance.service} {instance.id}")
        self._task = asyncio.create_task(self._keep())

    async def withdraw(self) -> None:
        """Remove the entry; see Registration."""
        self._task.cancel()
        await asyncio.wait([self._task])
        with contextlib.suppress(OSError):
            self._file.unlink()

    async def _keep(self) -> None:
        try:
            while True:
                try:
                    self._alarm.arm()
                    if not self._file.exists():
                        self._file = write_entry(self._folder, self._entry)
                except OSError as error:
                    self._trouble.is_on(error)
                    await asyncio.sleep(POLL_S)
                    continue
                self._trouble.is_over()
                await self._alarm.wait()
        finally:
            self._alarm.close()


async def _follow_instances(folders: Folders, folder: Path, feed: Feed[View]) -> None:
    alarm = Alarm(folders, folder)
    trouble = Trouble(_log, f"the watch of {folder}")
    view = View()
    try:
        while True:
            try:
                alarm.arm()
                entries = read_entries(folder)
            except OSError as error:
                trouble.is_on(error)
                feed.publish(View(view.instances, reachable=False))
                await asyncio.sleep(POLL_S)
                continue
            trouble.is_over()
            view = _view(entries)
            feed.publish(view)
            alarm.follow(entry.process for entry in entries)
            await alarm.wait()
    finally:
        alarm.close()


def _view(entries: list[Entry]) -> View:
    return View(tuple(entry.instance for entry in entries))
