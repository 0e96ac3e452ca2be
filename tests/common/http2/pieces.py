"""Bytes in pieces, as a socket may hand them over."""

from itertools import pairwise

from hypothesis import strategies as st


def cut(data: bytes, draw: st.DataObject) -> list[bytes]:
    """The bytes, cut anywhere."""
    places = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
