import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidRequestError
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository

VERSIONS = st.integers(1, 5)
LABELS = st.sampled_from(["canary", "stable"])
CHANGES = st.one_of(
    st.tuples(st.just("promote"), VERSIONS),
    st.tuples(st.just("retire"), VERSIONS),
    st.tuples(st.just("unretire"), VERSIONS),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("label"), LABELS, VERSIONS),
    st.tuples(st.just("unlabel"), LABELS),
    st.tuples(st.just("without"), VERSIONS),
)


def test_until_something_is_promoted_the_newest_answers() -> None:
    assert Releases().current([]) is None
    assert Releases().current([1, 3, 2]) == 3
    assert Releases().retire(3).current([1, 3, 2]) == 2
    assert Releases().promote(1).current([1, 3, 2]) == 1


def test_rolling_back_twice_goes_back_twice() -> None:
    releases = Releases().promote(1).promote(2).promote(3)
    assert releases.rollback().promoted == 2
    assert releases.rollback().rollback().promoted == 1
    with pytest.raises(InvalidRequestError, match="before"):
        releases.rollback().rollback().rollback()


def test_rolling_back_passes_over_what_was_retired() -> None:
    assert Releases().promote(1).promote(2).promote(3).retire(2).rollback().promoted == 1


def test_what_is_in_use_is_not_retired() -> None:
    releases = Releases().promote(2).label("canary", 3)
    for version in (2, 3):
        with pytest.raises(InvalidRequestError) as caught:
            releases.retire(version)
        assert caught.value.reason == "IN_USE"
    with pytest.raises(InvalidRequestError, match="retired"):
        releases.retire(1).promote(1)


def test_what_was_retired_can_be_served_again() -> None:
    assert Releases().retire(1).unretire(1).promote(1).promoted == 1
    assert Releases().unretire(1) == Releases()


@given(st.lists(CHANGES, max_size=20))
def test_nothing_points_at_what_is_retired(changes: list[tuple[object, ...]]) -> None:
    releases = Releases()
    for method, *arguments in changes:
        before = releases
        try:
            releases = getattr(releases, str(method))(*arguments)
        except InvalidRequestError:
            continue
        assert releases.sequence == before.sequence + (releases is not before)
        assert releases.promoted not in releases.retired
        assert not releases.retired & set(releases.labels.values())
        assert Releases.from_json(releases.to_json(), "here") == releases


def test_no_change_of_two_at_once_is_lost(tmp_path: Path) -> None:
    def give_labels(who: str) -> None:
        repository = ModelRepository(tmp_path)
        for number in range(20):
            label = f"{who}{number}"
            repository.change_releases("small", partial(Releases.label, label=label, version=1))

    threads = [threading.Thread(target=give_labels, args=(who,)) for who in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ModelRepository(tmp_path).releases("small").labels) == 60
