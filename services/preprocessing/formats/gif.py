"""GIF headers (GIF89a): the screen and the first picture on it; extensions are dropped."""

import struct
from typing import Final

from services.common.errors import ImageError
from services.preprocessing.header import Content, Format, Header, damaged, joined

MAX_BLOCKS: Final = 65_536
"""Before the first picture; each holds up to 255 bytes."""

_EXTENSION, _PICTURE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL: Final = 0xF9


def read(content: Content) -> Header:
    """Return the header of a GIF picture; raises ImageError, IndexError or struct.error."""
    view = memoryview(content)
    screen_width, screen_height, flags = struct.unpack_from("<HHB", view, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    kept = [view[:at]]
    control: memoryview | None = None
    left = MAX_BLOCKS
    while (kind := view[at]) != _PICTURE:
        if kind == _TRAILER:
            raise ImageError("the GIF file holds no picture", reason="IMAGE_EMPTY")
        start = at
        at += 1
        if kind == _EXTENSION:
            label = view[at]
            at += 1
            while size := view[at]:
                at += 1 + size
                left -= 1
                if left < 0:
                    break
            at += 1
            if label == _GRAPHIC_CONTROL:
                control = view[start:at]
        left -= 1
        if left < 0:
            raise damaged(Format.GIF, f"more than {MAX_BLOCKS} blocks come before its picture")
    if control is not None:
        kept.append(control)
    kept.append(view[at:])
    x, y, width, height = struct.unpack_from("<HHHH", view, at + 1)
    return Header(
        Format.GIF,
        max(screen_width, x + width),
        max(screen_height, y + height),
        joined(content, kept),
    )
