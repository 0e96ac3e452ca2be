"""Tensors that stay where they are: memory that processes of one host share.

An *arena* is anonymous memory (memfd) of one process, the owner. It hands out *slots*; a handle
of the arena and a slot's offset are all that travels. Others open the memory through /proc, so
that it has no name in any file system: whoever is killed, the kernel frees it with its last user,
and nothing can be left behind.

Only the owner allocates and frees. A slot that another process might still write to (its link
broke, and it may only be frozen) is abandoned instead, and never used again.
"""

import mmap
import os
import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from facet.type.v1 import memory_pb2
from services.common.errors import UnavailableError

ALIGNMENT: Final = 4096
"""Slots begin on pages, so that two never share one."""


NO_SHARED_MEMORY: Final = "NO_SHARED_MEMORY"
"""Reason of the error when memory cannot be reached from here."""

MEMORY_KEY: Final = "memory"
"""The registry's meta key under which a process tells its `host_key`."""


def host_key() -> str:
    """Return what processes have in common that can open each other's memory.

    One boot of one kernel, one namespace of process ids, one user of one namespace of users: two
    containers of a machine have nothing in common. Empty where there is no shared memory of this
    kind.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        pids, users = (os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "user"))
        return f"{boot}/{pids}/{users}/{os.geteuid()}"
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of an arena, in bytes."""

    offset: int
    nbytes: int


def shares_memory(meta: Mapping[str, str]) -> bool:
    """Tell whether the process with that registry meta can open this one's memory."""
    key = meta.get(MEMORY_KEY, "")
    return bool(key) and key == host_key()


class Arena:
    """Memory that this process owns. Not thread-safe."""

    def __init__(self, nbytes: int) -> None:
        """Reserve that much; pages cost memory once they are used."""
        self._token = secrets.token_hex(8)
        self._capacity = nbytes
        self._descriptor = os.memfd_create(_name(self._token), os.MFD_CLOEXEC)
        os.ftruncate(self._descriptor, nbytes)
        self._memory = mmap.mmap(self._descriptor, nbytes)
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._used: dict[int, int] = {}
        self._abandoned = 0

    @property
    def handle(self) -> memory_pb2.ArenaHandle:
        """What another process attaches by."""
        return memory_pb2.ArenaHandle(
            pid=os.getpid(),
            descriptor=self._descriptor,
            token=self._token,
            nbytes=self._capacity,
        )

    @property
    def used_slots(self) -> int:
        """Slots that are neither free nor abandoned."""
        return len(self._used)

    @property
    def abandoned_bytes(self) -> int:
        """What is lost for ever to writers that may come back."""
        return self._abandoned

    def allocate(self, nbytes: int) -> Slot | None:
        """Return a slot with at least that many bytes; None when the arena is full."""
        size = -(-nbytes // ALIGNMENT) * ALIGNMENT
        if self._free[size]:
            offset = self._free[size].pop()
        elif self._end + size <= self._capacity:
            offset = self._end
            self._end += size
        else:
            return None
        self._used[offset] = size
        return Slot(offset, nbytes)

    def free(self, slot: Slot) -> None:
        """Give a slot back; nobody may read or write it any more."""
        self._free[self._used[slot.offset]].append(slot.offset)
        del self._used[slot.offset]

    def abandon(self, slot: Slot) -> None:
        """Give a slot up that another process might still write to."""
        self._abandoned += self._used.pop(slot.offset)

    def write(self, slot: Slot, content: bytes) -> None:
        """Copy bytes to the beginning of a slot."""
        self._memory[slot.offset : slot.offset + len(content)] = content

    def read(self, slot: Slot) -> bytes:
        """Return a copy of a slot's bytes."""
        return self._memory[slot.offset : slot.offset + slot.nbytes]

    def close(self) -> None:
        """Let go of the memory; those who are attached keep it until they detach."""
        self._memory.close()
        os.close(self._descriptor)


class AttachedArena:
    """Another process's arena, mapped into this one."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._array = np.frombuffer(memory, np.uint8)

    @classmethod
    def attach(cls, handle: memory_pb2.ArenaHandle) -> Self:
        """Map an arena; UnavailableError (NO_SHARED_MEMORY) when it cannot be had from here."""
        path = f"/proc/{handle.pid}/fd/{handle.descriptor}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                # The number of a process that died may be another's by now.
                if not os.readlink(f"/proc/self/fd/{descriptor}").startswith(
                    f"/memfd:{_name(handle.token)}"
                ):
                    raise FileNotFoundError(path)
                memory = mmap.mmap(descriptor, handle.nbytes)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"the memory of process {handle.pid} cannot be shared: {error}",
                reason=NO_SHARED_MEMORY,
            ) from error
        return cls(memory)

    def array(self, offset: int, nbytes: int) -> npt.NDArray[np.uint8]:
        """Return a slot as a writable uint8 array [nbytes] over the shared memory itself.

        UnavailableError (NO_SHARED_MEMORY) when it does not lie within the arena.
        """
        if offset < 0 or offset + nbytes > self._array.size:
            raise UnavailableError(
                f"{nbytes} bytes at {offset} lie beyond the arena", reason=NO_SHARED_MEMORY
            )
        return self._array[offset : offset + nbytes]


class Attachments:
    """The arenas that one stream of calls works with; they go when it does."""

    def __init__(self) -> None:
        self._arenas: dict[str, AttachedArena] = {}

    def get(self, handle: memory_pb2.ArenaHandle) -> AttachedArena:
        """Return an attached arena, attaching it the first time."""
        arena = self._arenas.get(handle.token)
        if arena is None:
            arena = self._arenas[handle.token] = AttachedArena.attach(handle)
        return arena


def _name(token: str) -> str:
    return f"facet-{token}"
