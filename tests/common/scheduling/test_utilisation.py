"""Utilisation, capacity and headroom tell one story."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.scheduling.costs import Cost
from services.common.scheduling.utilisation import (
    Share,
    capacity,
    full_batch_s,
    headroom,
    mixed_capacity,
    utilisation,
)

costs = st.builds(Cost, a=st.floats(1e-5, 0.05), c=st.floats(1e-5, 0.05))
batches = st.integers(1, 64)
rates = st.floats(0, 10_000)
shares = st.builds(Share, images_per_s=rates, capacity=st.floats(1, 10_000))


def test_an_image_costs_least_in_the_largest_batch() -> None:
    cost = Cost(0.004, 0.001)
    assert full_batch_s(cost, 32) == pytest.approx(0.001125)
    assert capacity(cost, 32) == pytest.approx(888.9, rel=1e-3)
    assert utilisation(200, cost, 32) == pytest.approx(0.225)


@given(costs, batches)
def test_full_batches_one_after_the_other_are_all_that_there_is(cost: Cost, batch: int) -> None:
    per_s = batch / cost.seconds(batch)
    assert capacity(cost, batch) == pytest.approx(per_s)
    assert utilisation(per_s, cost, batch) == pytest.approx(1)


@given(st.lists(shares, max_size=5))
def test_load_and_headroom_make_up_the_capacity(shares: list[Share]) -> None:
    could, used = mixed_capacity(shares), sum(share.utilisation for share in shares)
    does = sum(share.images_per_s for share in shares)
    if shares and does > 1e-6 and used <= 1:
        assert does + headroom(used, could) == pytest.approx(could)
    if used >= 1:
        assert headroom(used, could) == 0


@given(st.lists(shares, min_size=1, max_size=5))
def test_a_mix_is_between_the_slowest_and_the_fastest(shares: list[Share]) -> None:
    single = [share.capacity for share in shares]
    assert min(single) * 0.999 <= mixed_capacity(shares) <= max(single) * 1.001


def test_nothing_can_do_nothing() -> None:
    assert mixed_capacity([]) == 0
