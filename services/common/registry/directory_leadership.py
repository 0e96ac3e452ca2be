"""Leadership in the directory registry: a lock that the kernel takes back at death.

The leader holds an flock on `<role>.lock`; `<role>.json` beside it says who that is, so that
nobody needs to touch the lock to find out. The kernel drops the lock when the leader dies,
killed or not; a waiting candidate hears of that death through the leader's pidfd, and of a
resignation through the closing of the lock file, and tries the lock then. Nobody polls, no
thread blocks in flock(2).

A child that the leader forks without exec keeps the lock alive as long as it lives.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from services.common.following.inotify import Folders
from services.common.registry.alarm import POLL_S, Alarm
from services.common.registry.directory_files import Leader, read_leader, write_leader
from services.common.registry.processes import Process
from services.common.registry.streams import Feed
from services.common.registry.trouble import Trouble

YIELD_FIRST_S: Final = 0.2
"""Pause before locking a new file in place of a removed one: its leader must notice first."""

_log = logging.getLogger(__name__)


class Candidacy:
    """One candidate standing for one role, from `run` until that is cancelled."""

    def __init__(self, folders: Folders, folder: Path, role: str, candidate: str) -> None:
        self._folder = folder
        self._lock_path = folder / f"{role}.lock"
        self._leader_path = folder / f"{role}.json"
        self._me = Leader(candidate, Process.current())
        self._alarm = Alarm(folders, folder)
        self._trouble = Trouble(_log, f"standing for {role}")
        self._lock: int | None = None
        self._leads = False

    async def run(self, feed: Feed[bool]) -> None:
        """Publish whether the candidate leads, at once and at every change."""
        try:
            while True:
                try:
                    self._alarm.arm()
                    if self._lock is not None and not _is_at(self._lock, self._lock_path):
                        self._give_up()
                        feed.publish(False)
                        await asyncio.sleep(YIELD_FIRST_S)
                    self._leads = self._leads or self._try_lock()
                    leader = self._look_up()
                except OSError as error:
                    self._trouble.is_on(error)
                    self._give_up()
                    feed.publish(False)
                    await asyncio.sleep(POLL_S)
                    continue
                self._trouble.is_over()
                feed.publish(self._leads)
                self._alarm.follow([leader.process] if leader else ())
                await (self._alarm.wait() if leader else self._wait_for_a_name())
        finally:
            self._alarm.close()
            feed.publish(False)
            self._resign()

    def _try_lock(self) -> bool:
        if self._lock is None:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # The file may have been replaced between opening and locking it.
        return _is_at(self._lock, self._lock_path)

    def _look_up(self) -> Leader | None:
        leader = read_leader(self._leader_path)
        if self._leads and leader != self._me:
            write_leader(self._leader_path, self._me)
            return self._me
        return leader

    async def _wait_for_a_name(self) -> None:
        # The leader has not written its name yet, or died before it could: nobody to follow.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._alarm.wait()

    def _resign(self) -> None:
        if self._leads:
            with contextlib.suppress(OSError):
                if read_leader(self._leader_path) == self._me:
                    self._leader_path.unlink()
        self._give_up()

    def _give_up(self) -> None:
        self._leads = False
        if self._lock is not None:
            # Unlocked first: closing is what wakes the others, and they must find it free.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = None


async def follow_leader(folders: Folders, folder: Path, role: str, feed: Feed[str | None]) -> None:
    """Publish the candidate that leads, or None, at once and at every change."""
    alarm = Alarm(folders, folder)
    trouble = Trouble(_log, f"watching the leader of {role}")
    path = folder / f"{role}.json"
    leader = None
    try:
        while True:
            try:
                alarm.arm()
                leader = read_leader(path)
            except OSError as error:
                trouble.is_on(error)
                feed.publish(leader.candidate if leader else None)
                await asyncio.sleep(POLL_S)
                continue
            trouble.is_over()
            feed.publish(leader.candidate if leader else None)
            alarm.follow([leader.process] if leader else ())
            await alarm.wait()
    finally:
        alarm.close()


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
