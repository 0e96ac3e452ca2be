"""Pictures that are lent to preprocessing, and pixels that nobody has to give back."""

from collections.abc import Iterator

import pytest

from facet.inference.v1 import inference_pb2
from facet.preprocessing.v1 import preprocessing_pb2
from gateway.pixels import LEAST_BYTES, Loan, PixelMemory, Pixels, TensorRows, set_pixels
from services.common.shared_memory import AttachedArena

MIB = 1024 * 1024


@pytest.fixture
def memory() -> Iterator[PixelMemory]:
    """A small memory."""
    owned = PixelMemory(MIB)
    yield owned
    assert owned.used_slots == 0, "something was not given back"
    owned.close()


def lent(memory: PixelMemory, *contents: bytes, nbytes: int = LEAST_BYTES) -> Loan:
    """A loan that must come about."""
    loan = memory.lend(contents, nbytes)
    assert loan is not None
    return loan


def described(loan: Loan) -> preprocessing_pb2.PrepareRequest:
    """The request that tells of a loan."""
    request = preprocessing_pb2.PrepareRequest()
    loan.describe(request)
    return request


def test_an_instance_reads_the_picture_and_writes_its_pixels(memory: PixelMemory) -> None:
    loan = lent(memory, b"first", b"second")
    request = described(loan)
    attached = AttachedArena.attach(request.memory)
    second = request.shared_images[1]
    content = attached.array(second.content_offset, second.content_bytes)
    assert content.tobytes() == b"second"
    attached.array(second.pixels_offset, LEAST_BYTES)[:] = 7
    pixels = loan.take(1)
    loan.end()
    assert memory.used_slots == 1
    assert pixels.to_bytes() == bytes([7]) * LEAST_BYTES


def test_pixels_live_as_long_as_somebody_has_them(memory: PixelMemory) -> None:
    loan = lent(memory, b"picture")
    pixels = [loan.take(0)]
    loan.end()
    piece = pixels[:]
    pixels.clear()
    assert memory.used_slots == 1
    piece.clear()
    assert memory.used_slots == 0


def test_what_a_lost_instance_may_still_write_to_is_never_used_again(memory: PixelMemory) -> None:
    loan = lent(memory, b"picture")
    lost = described(loan).shared_images[0].pixels_offset
    loan.end(out_of_reach=True)
    while (loan := memory.lend([b"picture"], LEAST_BYTES)) is not None:  # type: ignore[assignment]
        assert described(loan).shared_images[0].pixels_offset != lost
        loan.end(out_of_reach=True)


def test_a_full_memory_lends_nothing_and_keeps_nothing(memory: PixelMemory) -> None:
    assert memory.lend([bytes(MIB // 2)] * 3, LEAST_BYTES) is None
    lent(memory, b"picture").end()


def test_small_pixels_are_better_sent(memory: PixelMemory) -> None:
    assert memory.lend([b"picture"], LEAST_BYTES - 1) is None
    nothing = PixelMemory(0)
    assert nothing.lend([b"picture"], MIB) is None
    nothing.close()


def test_a_piece_is_given_in_one_way(memory: PixelMemory) -> None:
    loan = lent(memory, b"picture")
    shared = loan.take(0)
    loan.end()
    mixed: list[Pixels] = [shared, b"sent"]
    for pixels, reaches, offsets, chunks in (
        ([shared], True, 1, 0),
        ([shared], False, 0, 1),
        (mixed, True, 0, 2),
    ):
        piece = inference_pb2.Piece()
        set_pixels(piece, pixels, shared=reaches)
        assert (len(piece.offsets), len(piece.pixels)) == (offsets, chunks)


def test_a_stretch_of_a_tensor_is_one_chunk() -> None:
    rows = TensorRows(b"aabbccdd", 2)
    assert len(rows) == 4
    assert (rows[0], rows[3]) == (b"aa", b"dd")
    assert list(rows) == [b"aa", b"bb", b"cc", b"dd"]
    assert rows[1:3] == [b"bbcc"]
    assert rows[2:9] == [b"ccdd"]
