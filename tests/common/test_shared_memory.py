"""Memory that processes share, with real processes that are killed."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facet.type.v1 import memory_pb2
from services.common.errors import UnavailableError
from services.common.shared_memory import Arena, AttachedArena, Attachments, Slot, host_key

MIB = 1024 * 1024

OWNER = """
import sys
from services.common.shared_memory import Arena
arena = Arena(1 << 20)
slot = arena.allocate(5)
from services.common.shared_memory import AttachedArena
AttachedArena.attach(arena.handle).array(slot.offset, 5)[:] = bytearray(b"hello")
sys.stdout.write(arena.handle.SerializeToString().hex() + chr(10))
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def arena() -> Iterator[Arena]:
    """A small arena."""
    owned = Arena(MIB)
    yield owned
    owned.close()


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], memory_pb2.ArenaHandle]]:
    """Another process with an arena that begins with "hello"."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield process, memory_pb2.ArenaHandle.FromString(bytes.fromhex(line))
    finally:
        process.kill()
        process.communicate()


def _slot(arena: Arena, nbytes: int) -> Slot:
    slot = arena.allocate(nbytes)
    assert slot is not None
    return slot


def test_what_one_writes_another_reads(arena: Arena) -> None:
    slot = _slot(arena, 6)
    AttachedArena.attach(arena.handle).array(slot.offset, 6)[:] = np.arange(6)
    assert arena.read(slot) == bytes(range(6))


def test_the_memory_of_a_killed_owner_stays_for_those_who_have_it(
    owner: tuple[subprocess.Popen[str], memory_pb2.ArenaHandle],
) -> None:
    process, handle = owner
    attached = AttachedArena.attach(handle)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert attached.array(0, 5).tobytes() == b"hello"
    with pytest.raises(UnavailableError) as caught:
        AttachedArena.attach(handle)
    assert caught.value.reason == "NO_SHARED_MEMORY"


def test_nothing_has_a_name_that_could_stay_behind(arena: Arena) -> None:
    files = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    assert not [name for name in files if arena.handle.token in name]


def test_another_memory_in_its_place_is_not_mistaken_for_it(arena: Arena) -> None:
    handle = arena.handle
    handle.token = "0" * 16
    with pytest.raises(UnavailableError):
        AttachedArena.attach(handle)


def test_beyond_the_arena_there_is_nothing(arena: Arena) -> None:
    attached = AttachedArena.attach(arena.handle)
    for offset, nbytes in ((MIB, 1), (MIB - 1, 2), (-1, 1)):
        with pytest.raises(UnavailableError):
            attached.array(offset, nbytes)


def test_attachments_map_an_arena_once(arena: Arena) -> None:
    attachments = Attachments()
    assert attachments.get(arena.handle) is attachments.get(arena.handle)


def test_a_full_arena_says_so_and_an_abandoned_slot_never_comes_back(arena: Arena) -> None:
    slots = [_slot(arena, MIB // 4) for _ in range(4)]
    assert arena.allocate(1) is None
    arena.abandon(slots[0])
    assert arena.allocate(MIB // 4) is None
    arena.free(slots[1])
    assert arena.allocate(MIB // 4) == slots[1]
    assert arena.abandoned_bytes == MIB // 4


def test_processes_of_this_host_have_one_key() -> None:
    other = subprocess.run(
        [
            *(sys.executable, "-c"),
            "from services.common.shared_memory import host_key as k; print(k())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert host_key() == other.stdout.strip() != ""


@given(st.lists(st.tuples(st.sampled_from("aff"), st.integers(1, 40_000)), max_size=60))
def test_no_two_slots_overlap(steps: list[tuple[str, int]]) -> None:
    arena = Arena(MIB // 2)
    live: list[Slot] = []
    try:
        for action, number in steps:
            if action == "f" and live:
                arena.free(live.pop(number % len(live)))
            elif (slot := arena.allocate(number)) is not None:
                live.append(slot)
            taken = sorted((slot.offset, slot.offset + slot.nbytes) for slot in live)
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(taken))
            assert all(end <= MIB // 2 for _, end in taken)
            assert arena.used_slots == len(live)
    finally:
        arena.close()
