"""The lead is what was measured, and nothing before."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.scheduling.lead import MARGIN, WINDOW, Lead, Window


def test_without_measurements_there_is_no_lead() -> None:
    lead = Lead()
    assert lead.seconds == 0
    assert lead.pull_in(0.5, waiting=False, pulled=False) == 0.5
    lead.ended(0.001)
    assert lead.seconds == 0


def test_the_time_at_the_scheduler_is_no_part_of_it() -> None:
    lead = Lead()
    assert lead.arrived(5.002, parked_s=5.0) == pytest.approx(0.002)
    assert lead.seconds == pytest.approx(MARGIN * 0.002)


def test_batches_that_end_early_lengthen_it_and_late_ones_do_not() -> None:
    lead = Lead()
    lead.arrived(0.002)
    lead.ended(-0.5)
    assert lead.seconds == pytest.approx(MARGIN * 0.002)
    lead.ended(0.003)
    assert lead.seconds == pytest.approx(MARGIN * 0.002 + 0.003)


def test_a_shard_pulls_when_what_it_runs_is_about_to_end() -> None:
    lead = Lead()
    lead.arrived(0.010)
    assert lead.pull_in(0.030, waiting=False, pulled=False) == pytest.approx(0.018)
    assert lead.pull_in(0.012, waiting=False, pulled=False) == pytest.approx(0)
    assert lead.pull_in(0.0, waiting=True, pulled=False) is None
    assert lead.pull_in(0.0, waiting=False, pulled=True) is None


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_those_of_the_last_values(values: list[float], share: float) -> None:
    window = Window()
    for value in values:
        window.add(value)
    last = sorted(values[-WINDOW:])
    assert window.quantile(share) == last[max(0, math.ceil(share * len(last)) - 1)]
