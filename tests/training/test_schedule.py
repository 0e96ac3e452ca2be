"""Which pictures are learned when, and by whom."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.training.schedule import Schedule

SCHEDULES = st.builds(
    Schedule,
    images=st.integers(1, 60),
    batch=st.integers(1, 20),
    epochs=st.just(3),
    seed=st.integers(0, 2**32 - 1),
)


@given(SCHEDULES, st.integers(1, 3), st.integers(1, 5))
def test_each_picture_is_learned_once_an_epoch_whoever_learns_it(
    schedule: Schedule, epoch: int, workers: int
) -> None:
    shares = [list(schedule.shares(epoch, 0, worker, workers)) for worker in range(workers)]
    for step in zip(*shares, strict=True):
        assert {share.step for share in step} == {step[0].step}
        whole = np.concatenate([share.indices for share in step if share.counts])
        assert len(whole) == step[0].batch
        first = (step[0].step - 1) * schedule.batch
        expected = schedule.order(epoch)[first : first + schedule.batch]
        np.testing.assert_array_equal(whole, expected)
        assert all(len(share.indices) for share in step)
    assert sorted(schedule.order(epoch)) == list(range(schedule.images))
    assert len(shares[0]) == schedule.steps


@given(SCHEDULES, st.integers(1, 5))
def test_the_scales_of_a_step_make_a_mean(schedule: Schedule, workers: int) -> None:
    shares = (schedule.shares(1, 0, worker, workers) for worker in range(workers))
    for step in zip(*shares, strict=True):
        assert np.isclose(sum(share.scale * len(share.indices) for share in step), 1)


@given(SCHEDULES, st.data())
def test_what_comes_after_a_step_does_not_depend_on_what_was_before(
    schedule: Schedule, data: st.DataObject
) -> None:
    after = data.draw(st.integers(0, schedule.steps))
    whole = list(schedule.shares(2, 0, 0, 2))
    rest = list(schedule.shares(2, after, 0, 2))
    assert [share.step for share in rest] == [share.step for share in whole[after:]]
    for one, other in zip(rest, whole[after:], strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)


def test_chance_is_another_in_every_step_and_worker() -> None:
    schedule = Schedule(images=10, batch=5, epochs=2, seed=7)
    drawn = {
        schedule.chance(epoch, step, worker)
        for epoch in (1, 2)
        for step in (1, 2)
        for worker in (0, 1)
    }
    assert len(drawn) == 8
    assert schedule.chance(1, 1, 0) == schedule.chance(1, 1, 0)
    assert schedule.chance(1, 1, 0) != Schedule(10, 5, 2, 8).chance(1, 1, 0)
    order = schedule.order(1).tolist()
    assert order != schedule.order(2).tolist()
