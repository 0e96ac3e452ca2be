"""TIFF image file directories, the structure that both TIFF and EXIF are made of.

See TIFF 6.0, section 2, and EXIF 2.3, section 4.6. Every read is checked against the data's
length, so a damaged directory costs an exception and never more.
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

from services.preprocessing.header import Content

ORIENTATION: Final = 274
MAX_FIELDS: Final = 1024
ENTRY: Final = 12
"""Bytes of one directory entry: tag, type, count, and the value or where it lies."""

_EXIF: Final = b"Exif\x00\x00"
_ORDERS: Final = {b"II*\x00": "<", b"MM\x00*": ">"}
_INTEGERS: Final = {1: "B", 3: "H", 4: "L"}
_WIDTHS: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of `data`, by tag; of a repeated tag the first entry."""

    data: Content
    order: str
    """The struct module's prefix for the byte order."""
    entries: dict[int, int]
    """Where each tag's entry begins."""

    @classmethod
    def read(cls, data: Content) -> Self:
        """Return the first directory; raises ValueError or struct.error when there is none."""
        order = _ORDERS.get(bytes(data[:4]))
        if order is None:
            raise ValueError("no TIFF header")
        (start,) = struct.unpack_from(order + "L", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        if count > MAX_FIELDS:
            raise ValueError(f"{count} fields in a directory")
        entries: dict[int, int] = {}
        last = min(start + 2 + count * ENTRY, len(data)) - ENTRY
        for at in range(start + 2, last + 1, ENTRY):
            entries.setdefault(struct.unpack_from(order + "H", data, at)[0], at)
        return cls(data, order, entries)

    def integers(self, tag: int, most: int) -> tuple[int, ...]:
        """Return a tag's unsigned integers, none when it is absent.

        Raises ValueError or struct.error when it holds something else, or more than `most`.
        """
        if tag not in self.entries:
            return ()
        kind, count, at, _ = self.extent(tag)
        if kind not in _INTEGERS or count > most:
            raise ValueError(f"tag {tag} holds {count} values of type {kind}")
        return struct.unpack_from(f"{self.order}{count}{_INTEGERS[kind]}", self.data, at)

    def integer(self, tag: int, default: int | None = None) -> int:
        """Return a tag's only integer; raises ValueError when it is absent without a default."""
        values = self.integers(tag, 1)
        if values:
            return values[0]
        if default is None:
            raise ValueError(f"tag {tag} is missing")
        return default

    def extent(self, tag: int) -> tuple[int, int, int, int]:
        """Return a tag's type, count, and the start and end of its values in `data`."""
        entry = self.entries[tag]
        kind, count = struct.unpack_from(self.order + "HL", self.data, entry + 2)
        size = count * _WIDTHS.get(kind, 0)
        start = entry + 8
        if size > 4:
            (start,) = struct.unpack_from(self.order + "L", self.data, start)
        return kind, count, start, start + size


def is_exif(block: Content) -> bool:
    """Tell whether a block begins as EXIF does in JPEG."""
    return bytes(block[: len(_EXIF)]) == _EXIF


def orientation(exif: Content) -> int:
    """Return the orientation that an EXIF block states, 1 where it states none that is valid."""
    if is_exif(exif):
        exif = exif[len(_EXIF) :]
    try:
        value = Directory.read(exif).integer(ORIENTATION, default=1)
    except (ValueError, struct.error):
        return 1
    return value if 1 <= value <= 8 else 1
