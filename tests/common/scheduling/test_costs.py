"""The fit finds what devices really take, under noise, outliers and change."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.scheduling.costs import GUESS, Cost, CostModel, Ran, prior

costs = st.builds(Cost, a=st.floats(1e-4, 0.05), c=st.floats(1e-4, 0.05))


def feed(
    model: CostModel,
    true: Cost,
    count: int,
    *,
    noise: float,
    seed: int,
    sizes: range = range(1, 33),
) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        images = rng.choice(sizes)
        model.observe(Ran(images, true.seconds(images) * max(0.2, rng.gauss(1, noise))))


@settings(max_examples=50, deadline=None)
@given(costs, costs, st.integers(0, 1000))
def test_the_fit_recovers_the_costs_under_noise(true: Cost, start: Cost, seed: int) -> None:
    model = CostModel(start)
    feed(model, true, 400, noise=0.05, seed=seed)
    for images in (1, 8, 32):
        assert model.cost.seconds(images) == pytest.approx(true.seconds(images), rel=0.15)


@settings(max_examples=30, deadline=None)
@given(costs, st.integers(0, 1000))
def test_one_outlier_in_ten_does_not_bend_the_fit(true: Cost, seed: int) -> None:
    model = CostModel(true)
    rng = random.Random(seed)
    for number in range(400):
        images = rng.randint(1, 32)
        factor = 10.0 if number % 10 == 0 else rng.gauss(1, 0.05)
        model.observe(Ran(images, true.seconds(images) * factor))
    for images in (1, 8, 32):
        assert model.cost.seconds(images) == pytest.approx(true.seconds(images), rel=0.25)


@settings(max_examples=30, deadline=None)
@given(costs)
def test_a_slower_device_is_followed_within_a_few_batches(true: Cost) -> None:
    model = CostModel(true)
    feed(model, true, 100, noise=0.03, seed=1)
    slower = Cost(5 * true.a, 5 * true.c)
    feed(model, slower, 4, noise=0.03, seed=2, sizes=range(16, 17))
    assert model.cost.seconds(16) == pytest.approx(slower.seconds(16), rel=0.35)
    feed(model, slower, 300, noise=0.03, seed=3)
    assert model.cost.seconds(4) == pytest.approx(slower.seconds(4), rel=0.2)
    assert model.slowness == pytest.approx(1.0, abs=0.2)


@settings(max_examples=30, deadline=None)
@given(costs)
def test_batches_of_one_size_do_not_spoil_the_rest(true: Cost) -> None:
    model = CostModel(true)
    feed(model, true, 200, noise=0.05, seed=1)
    feed(model, true, 2000, noise=0.05, seed=2, sizes=range(32, 33))
    assert model.cost.seconds(4) == pytest.approx(true.seconds(4), rel=0.5)
    assert model.cost.seconds(32) == pytest.approx(true.seconds(32), rel=0.15)


@given(st.lists(st.tuples(st.integers(-2, 64), st.floats(-1, 100)), max_size=80))
def test_whatever_is_observed_costs_stay_usable(observed: list[tuple[int, float]]) -> None:
    model = CostModel()
    for images, seconds in observed:
        model.observe(Ran(images, seconds))
        assert 0 < model.cost.a < 1e6
        assert 0 < model.cost.c < 1e6


@given(costs)
def test_the_prior_is_what_warming_up_showed(true: Cost) -> None:
    found = prior(Ran(images, true.seconds(images)) for images in (1, 2, 4, 8, 16, 32))
    for images in (1, 8, 32):
        assert found.seconds(images) == pytest.approx(true.seconds(images), rel=0.01)


def test_with_one_measurement_the_split_is_guessed() -> None:
    found = prior([Ran(8, 0.12)])
    assert found.seconds(8) == pytest.approx(0.12)
    assert found.a / found.c == pytest.approx(GUESS.a / GUESS.c)


def test_without_measurements_all_is_guessed() -> None:
    assert prior([]) == GUESS


def test_a_start_that_is_far_off_is_left_within_a_few_batches() -> None:
    true = Cost(0.03, 0.03)
    for factor in (300.0, 1 / 300):
        model = CostModel(Cost(true.a / factor, true.c / factor))
        feed(model, true, 50, noise=0.05, seed=0)
        for images in (1, 8, 32):
            assert model.fit.seconds(images) == pytest.approx(true.seconds(images), rel=0.15)
