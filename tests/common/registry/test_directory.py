"""The directory registry and whatever else may lie in its directory."""

import asyncio
import os
import shutil
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.errors import RegistryError
from services.common.following.inotify import Folders
from services.common.registry import Instance, View
from services.common.registry.alarm import Alarm
from services.common.registry.directory_files import Entry, write_entry, write_whole
from services.common.registry.processes import Process
from tests.common.registry.helpers import OpenRegistry, StartChild, until

INSTANCE = Instance("gateway", "g-1", "127.0.0.1", 1, {"a": "b"})
RUBBISH = [
    b"",
    b"{",
    b"null",
    b"[" * 100_000,
    b"\xff\xfe",
    b'{"service": "gateway"}',
    b'{"service": "gateway", "id": "x", "host": "h", "port": true, "meta": {}, "pid": 1, '
    b'"started": ""}',
    b'{"service": "gateway", "id": "../x", "host": "h", "port": 1, "meta": {}, "pid": 1, '
    b'"started": ""}',
    b'{"service": "gateway", "id": "x", "host": "h", "port": 1, "meta": [], "pid": 1, '
    b'"started": ""}',
]


async def test_rubbish_is_ignored_and_removed_when_it_is_old(
    tmp_path: Path, opened: OpenRegistry
) -> None:
    registry = opened(tmp_path.as_uri())
    await registry.register(INSTANCE)
    folder = tmp_path / "instances" / "gateway"
    (folder / "folder.json").mkdir()
    (folder / "somebody's notes").write_bytes(b"kept")
    (folder / ".new-unfinished").write_bytes(b"{")
    for number, data in enumerate(RUBBISH):
        (folder / f"{number}.json").write_bytes(data)
    before = set(os.listdir(folder))
    assert await registry.instances("gateway") == (INSTANCE,)
    assert set(os.listdir(folder)) == before
    long_ago = time.time() - 3600
    for name in before:
        os.utime(folder / name, (long_ago, long_ago))
    assert await registry.instances("gateway") == (INSTANCE,)
    left = set(os.listdir(folder))
    assert {"folder.json", "somebody's notes"} < left
    assert len(left) == 3


async def test_a_leaders_name_that_is_rubbish_names_nobody(
    tmp_path: Path, opened: OpenRegistry
) -> None:
    registry = opened(tmp_path.as_uri())
    for data in RUBBISH:
        write_whole(tmp_path / "leaders" / "scheduler.json", data)
        async with aclosing(registry.watch_leader("scheduler")) as leaders:
            assert await anext(leaders) is None
    async with aclosing(registry.campaign("scheduler", "one")) as campaign:
        assert await anext(campaign) is True


async def test_entries_of_the_dead_are_removed_even_if_their_number_lives(
    tmp_path: Path, opened: OpenRegistry
) -> None:
    folder = tmp_path / "instances" / "gateway"
    reused = replace(Process.current(), started="before")
    write_entry(folder, Entry(replace(INSTANCE, id="dead"), reused))
    write_entry(folder, Entry(INSTANCE, Process.current()))
    assert await opened(tmp_path.as_uri()).instances("gateway") == (INSTANCE,)
    assert len(os.listdir(folder)) == 1


async def test_of_two_entries_with_one_id_the_later_counts(
    tmp_path: Path, opened: OpenRegistry
) -> None:
    registry = opened(tmp_path.as_uri())
    await registry.register(INSTANCE)
    [first] = (tmp_path / "instances" / "gateway").iterdir()
    os.utime(first, (0, 0))
    await registry.register(replace(INSTANCE, port=2))
    assert [each.port for each in await registry.instances("gateway")] == [2]


async def test_a_removed_directory_is_made_again_with_everybody_in_it(
    tmp_path: Path, opened: OpenRegistry, start_child: StartChild
) -> None:
    root = tmp_path / "registry"
    for number in range(4):
        child = await start_child(root.as_uri(), "register", "gateway", f"g-{number}")
        await child.says("registered")
    registry = opened(root.as_uri())

    async def all_are_there() -> None:
        async with aclosing(registry.watch("gateway")) as views:
            await until(views, lambda view: len(view.instances) == 4)

    async with (
        aclosing(registry.campaign("scheduler", "one")) as campaign,
        aclosing(registry.watch_leader("scheduler")) as leaders,
    ):
        for remove in (_remove, _move_away):
            await all_are_there()
            await until(campaign, bool)
            await until(leaders, lambda leader: leader == "one")
            remove(root)
            # Told by the kernel or, where a parent was moved, seen some seconds later.
            await until(campaign, lambda leads: not leads)
            assert await registry.get("key") is None
            await registry.put("key", b"value")
            assert await registry.get("key") == b"value"
        await all_are_there()
        await until(campaign, bool)


def _remove(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)  # the children make folders again meanwhile


def _move_away(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


async def test_a_directory_that_cannot_be_made_is_a_clear_error_and_recovers(
    tmp_path: Path, opened: OpenRegistry
) -> None:
    root = tmp_path / "registry"
    root.write_bytes(b"a file where the directory should be")
    registry = opened(root.as_uri())
    for call in (
        registry.register(INSTANCE),
        registry.instances("gateway"),
        registry.get("key"),
        registry.put("key", b""),
        registry.delete("key"),
    ):
        with pytest.raises(RegistryError, match=f"the registry {root} cannot be used"):
            await call
    async with (
        aclosing(registry.watch("gateway")) as views,
        aclosing(registry.campaign("scheduler", "one")) as campaign,
        aclosing(registry.watch_leader("scheduler")) as leaders,
    ):
        assert await anext(views) == View((), reachable=False)
        assert await anext(campaign) is False
        assert await anext(leaders) is None
        root.unlink()
        await until(views, lambda view: view.reachable)
        await until(campaign, bool)
        await until(leaders, lambda leader: leader == "one")


async def test_five_candidates_and_every_leader_killed(
    tmp_path: Path, opened: OpenRegistry, start_child: StartChild
) -> None:
    url = tmp_path.as_uri()
    async with aclosing(opened(url).watch_leader("scheduler")) as leaders:
        children = await asyncio.gather(
            *(start_child(url, "campaign", "scheduler", str(number)) for number in range(5))
        )
        last: str | None = None
        for _ in children:
            last = await until(
                leaders,
                lambda leader, last=last: leader not in (None, last),  # type: ignore[misc]
            )
            assert last is not None
            await children[int(last)].kill()
        assert await until(leaders, lambda leader: leader is None) is None


async def test_where_the_kernel_tells_nothing_changes_are_seen_all_the_same(
    tmp_path: Path,
) -> None:
    class Blind(Folders):
        def watch(self, folder: Path, wake: object) -> bool:
            return False

    alarm = Alarm(Blind(), tmp_path)
    alarm.arm()
    (tmp_path / "news").touch()
    async with asyncio.timeout(3):
        await alarm.wait()
    alarm.close()


async def test_one_inotify_descriptor_serves_many_watches(
    tmp_path: Path, opened: OpenRegistry
) -> None:
    registry = opened(tmp_path.as_uri())
    watches = [registry.watch("gateway") for _ in range(20)]
    for watch in watches:
        assert await anext(watch) == View()
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    assert sum("inotify" in target for target in targets) == 1
    registration = await registry.register(INSTANCE)
    for watch in watches:
        assert await anext(watch) == View((INSTANCE,))
    await registration.withdraw()
    for watch in watches:
        assert await anext(watch) == View()
        await watch.aclose()
