import hashlib

from hypothesis import given
from hypothesis import strategies as st

from services.training.data.split import held_out

DIGESTS = st.integers(0, 10**6).map(lambda number: hashlib.sha256(b"%d" % number).digest())


@given(st.lists(DIGESTS, min_size=2, max_size=60).filter(lambda them: len(set(them)) > 1))
def test_some_are_held_out_and_never_all(digests: list[bytes]) -> None:
    chosen = held_out(digests)
    assert 0 < chosen.sum() < len(digests)
    sides = {digest: bool(side) for digest, side in zip(digests, chosen, strict=True)}
    assert [sides[digest] for digest in digests] == chosen.tolist()


def test_about_a_fifth_is_held_out() -> None:
    digests = [hashlib.sha256(b"%d" % number).digest() for number in range(2000)]
    assert 0.18 < held_out(digests).mean() < 0.22
