"""Pixels between the steps: in memory that the services of this host share, or as bytes."""

from collections.abc import Sequence
from typing import Final, TypeAlias, overload

from facet.inference.v1 import inference_pb2
from facet.preprocessing.v1 import preprocessing_pb2
from facet.type.v1 import memory_pb2, model_pb2
from services.common.shared_memory import Arena, Slot

LEAST_BYTES: Final = 16 * 1024
"""Smaller pictures cost less to send than to keep account of."""


class SharedPixels:
    """One picture's pixels in the gateway's arena.

    The slot is free again when nobody refers to this object any more: the request that it belongs
    to, a piece, or a call that is under way. That is why it is freed by its finaliser: there is
    no one place where all of them have ended.
    """

    __slots__ = ("_arena", "slot")

    def __init__(self, arena: Arena, slot: Slot) -> None:
        self._arena = arena
        self.slot = slot

    def __del__(self) -> None:
        self._arena.free(self.slot)

    def to_bytes(self) -> bytes:
        """Return a copy, for a shard on another host."""
        return self._arena.read(self.slot)


Pixels: TypeAlias = bytes | SharedPixels
"""uint8, height x width x channels, of one picture."""


def picture_bytes(spec: model_pb2.InputSpec) -> int:
    """Return how many bytes the pixels of one picture have."""
    return spec.height * spec.width * spec.channels


class TensorRows(Sequence[Pixels]):
    """The pictures of one tensor. A stretch of them is one chunk of bytes, cut once."""

    def __init__(self, data: bytes, nbytes: int) -> None:
        """`data` holds whole pictures of so many bytes each."""
        self._data = data
        self._nbytes = nbytes

    def __len__(self) -> int:
        return len(self._data) // self._nbytes

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, int):
            if not 0 <= place < len(self):
                raise IndexError(place)
            return self._rows(place, place + 1)
        first, end, _ = place.indices(len(self))
        return [self._rows(first, end)]

    def _rows(self, first: int, end: int) -> bytes:
        return self._data[first * self._nbytes : end * self._nbytes]


class PixelMemory:
    """The gateway's arena."""

    def __init__(self, nbytes: int) -> None:
        """Reserve so many bytes; 0 turns sharing off."""
        self._arena = Arena(nbytes) if nbytes else None
        self._handle = self._arena.handle if self._arena else memory_pb2.ArenaHandle()

    @property
    def handle(self) -> memory_pb2.ArenaHandle:
        """What services attach by; empty when nothing is shared."""
        return self._handle

    @property
    def used_slots(self) -> int:
        """Stretches of the arena that are in use; 0 when no request is in hand."""
        return self._arena.used_slots if self._arena else 0

    def lend(self, contents: Sequence[bytes], nbytes: int) -> "Loan | None":
        """Return encoded pictures and room for their pixels (so many bytes each) to be lent.

        None where nothing is shared, the arena is full, or sending them costs less.
        """
        if self._arena is None or nbytes < LEAST_BYTES:
            return None
        loan = Loan(self._arena)
        if all(loan.add(content, nbytes) for content in contents):
            return loan
        loan.end()
        return None

    def close(self) -> None:
        """Let go of the memory."""
        if self._arena is not None:
            self._arena.close()


class Loan:
    """Pictures that a preprocessing instance reads in the arena, and writes the pixels of there.

    What is still lent at the end is free again, or abandoned where the instance is out of reach
    and may only be frozen: it would write when it wakes.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._contents: list[Slot] = []
        self._pixels: list[Slot | None] = []

    def add(self, content: bytes, nbytes: int) -> bool:
        """Lend one more picture; False when the arena is full."""
        source = self._arena.allocate(len(content))
        if source is None:
            return False
        self._contents.append(source)
        self._arena.write(source, content)
        target = self._arena.allocate(nbytes)
        self._pixels.append(target)
        return target is not None

    def describe(self, request: preprocessing_pb2.PrepareRequest) -> None:
        """Put into a request where everything is."""
        request.memory.CopyFrom(self._arena.handle)
        for source, target in zip(self._contents, self._pixels, strict=True):
            assert target is not None
            request.shared_images.add(
                content_offset=source.offset,
                content_bytes=source.nbytes,
                pixels_offset=target.offset,
            )

    def take(self, place: int) -> SharedPixels:
        """Take the pixels of a picture, which have been written, out of the loan."""
        slot = self._pixels[place]
        assert slot is not None
        self._pixels[place] = None
        return SharedPixels(self._arena, slot)

    def end(self, *, out_of_reach: bool = False) -> None:
        """Take everything back that was not taken."""
        give_back = self._arena.abandon if out_of_reach else self._arena.free
        for slot in self._pixels:
            if slot is not None:
                give_back(slot)
        for slot in self._contents:
            self._arena.free(slot)  # whoever reads it later reads nonsense, and harms nobody
        self._pixels.clear()
        self._contents.clear()


def set_pixels(piece: inference_pb2.Piece, pixels: Sequence[Pixels], *, shared: bool) -> None:
    """Put pictures into a message: as offsets where the shard can reach the arena, else as bytes.

    All of a piece's pictures are given in one way, which is how a shard reads them.
    """
    offsets = [each.slot.offset for each in pixels if isinstance(each, SharedPixels)]
    if shared and len(offsets) == len(pixels):
        piece.offsets.extend(offsets)
    else:
        piece.pixels.extend(
            each.to_bytes() if isinstance(each, SharedPixels) else each for each in pixels
        )
