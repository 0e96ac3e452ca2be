"""JPEG headers (ITU-T T.81, annex B): the segments before the first scan, and how many scans."""

import re
import struct
from collections.abc import Iterator
from typing import Final

from services.preprocessing.formats import ifd
from services.preprocessing.header import Content, Format, Header, damaged, joined, unsupported

MAX_SEGMENTS: Final = 4096
"""Before the first scan, and again after it; real pictures have fewer than 300."""

_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = {
    0xC0: "",
    0xC1: "",
    _PROGRESSIVE: "",
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic-coded"),
}
"""Markers that begin a frame, and why it is not decoded, if it is not."""
# JFIF (APP0) and Adobe (APP14) say which colours the samples are; the rest is for people.
_DROPPED: Final = frozenset({*range(_APP1, 0xEE), *range(0xEF, 0xFF)})
# What is between two segments is skipped, as libjpeg does: stray bytes, fill bytes, RSTn.
_SEGMENT: Final = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")


def read(content: Content) -> Header:
    """Return the header of a JPEG picture; raises ImageError, IndexError or struct.error."""
    view = memoryview(content)
    kept = [view[:2]]
    frame: tuple[int, int, int] | None = None
    exif: Content | None = None
    several_scans = False
    for marker, start, end in _segments(view, 2):
        body = start + 4
        if marker == _SOS:
            break
        if marker in _DROPPED:
            if marker == _APP1 and exif is None and ifd.is_exif(view[body:end]):
                exif = view[body:end]
            continue
        if marker in _FRAMES:
            if frame is not None:
                raise damaged(Format.JPEG, "it describes its pixels twice")
            frame = _frame(view, marker, body)
            several_scans = marker == _PROGRESSIVE
        kept.append(view[start:end])
    else:
        raise damaged(Format.JPEG, "it ends before its pixels")
    if frame is None:
        raise damaged(Format.JPEG, "its pixels come before their description")
    kept.append(view[start:])
    height, width, components = frame
    several_scans = several_scans or view[body] < components
    return Header(
        Format.JPEG,
        width,
        height,
        joined(content, kept),
        orientation=1 if exif is None else ifd.orientation(exif),
        plain=components != 4,
        channels=1 if components == 1 else 3,
        scans=_scans(view, end) if several_scans else 1,
    )


def _segments(view: memoryview, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment from `at` to the end of the picture.

    The coded data after a scan's header count as stray bytes: 0xFF in them comes only before
    0x00 and RSTn.
    """
    for _ in range(MAX_SEGMENTS):
        found = _SEGMENT.search(view, at)
        if found is None:
            return
        start, body = found.span()
        marker = view[body - 1]
        if marker in (_SOI, _EOI):
            return
        at = body + int(struct.unpack_from(">H", view, body)[0])
        if at < body + 2 or at > len(view):
            return
        yield marker, start, at
    raise damaged(Format.JPEG, f"it has more than {MAX_SEGMENTS} segments")


def _frame(view: memoryview, marker: int, body: int) -> tuple[int, int, int]:
    """Return height, width and components of a frame that can be decoded."""
    depth, height, width, components = struct.unpack_from(">BHHB", view, body)
    if _FRAMES[marker]:
        raise unsupported(Format.JPEG, f"it is {_FRAMES[marker]}")
    if depth != 8:
        raise unsupported(Format.JPEG, f"it has {depth} bits a sample")
    if components not in (1, 3, 4):
        raise unsupported(Format.JPEG, f"it has {components} colour components")
    return height, width, components


def _scans(view: memoryview, after_first: int) -> int:
    return 1 + sum(marker == _SOS for marker, _, _ in _segments(view, after_first))
