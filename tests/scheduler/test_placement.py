"""Plans: which shards hold which models."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from services.common.models.key import ModelKey
from services.scheduler.demand import WINDOW_S, Demand
from services.scheduler.placement import NO_CLAIM, Need, Plan, Room, fits_nowhere, plan

KEYS = [ModelKey(name, 1) for name in "abcdef"]
A, B, C, D = KEYS[:4]


def rooms(budget: int, *helds: Iterable[ModelKey]) -> dict[str, Room]:
    """Shards s0, s1 ... that offer everything and hold these."""
    return {
        f"s{number}": Room(budget, frozenset(held), frozenset(KEYS))
        for number, held in enumerate(helds)
    }


def copies(found: Plan, key: ModelKey) -> int:
    """On how many shards a model is to be."""
    return sum(key in hold for hold in found.values())


def test_where_everything_fits_everything_is_everywhere() -> None:
    needs = {A: Need(3, standing=1), B: Need(4, standing=2), C: Need(2, demand=1.0)}
    found = plan(needs, rooms(9, [], [A], [B, C]))
    assert all(set(hold) == {A, B, C} for hold in found.values())


def test_the_most_needed_comes_first() -> None:
    needs = {
        A: Need(1, standing=2),
        B: Need(1, standing=1),
        C: Need(1, demand=5.0, standing=1),
        D: Need(1, waiting=True),
    }
    assert plan(needs, rooms(4, []))["s0"] == (D, C, B, A)


def test_what_nobody_asks_for_and_no_name_leads_to_is_not_held() -> None:
    found = plan({A: Need(1), B: Need(1, standing=2)}, rooms(9, [A, B]))
    assert found == {"s0": (B,)}


def test_each_model_gets_a_shard_before_any_gets_two() -> None:
    needs = {A: Need(2, demand=900.0), B: Need(2, demand=1.0), C: Need(2, demand=1.0)}
    found = plan(needs, rooms(4, [A, B], [A]))
    assert copies(found, B) == 1
    assert copies(found, C) == 1
    assert copies(found, A) == 2


def test_further_copies_go_where_demand_is() -> None:
    needs = {A: Need(2, demand=900.0), B: Need(2, demand=10.0, standing=1)}
    found = plan(needs, rooms(2, [], [], [], []))
    assert copies(found, A) == 3
    assert copies(found, B) == 1


def test_a_model_that_waits_takes_the_place_of_the_least_used() -> None:
    needs = {A: Need(2, demand=90.0), B: Need(2, demand=1.0), C: Need(2, waiting=True)}
    assert set(plan(needs, rooms(4, [A, B]))["s0"]) == {A, C}


def test_a_little_more_demand_moves_nothing() -> None:
    needs = {A: Need(2, demand=60.0), B: Need(2, demand=50.0)}
    assert plan(needs, rooms(2, [B])) == {"s0": (B,)}
    needs[A] = Need(2, demand=900.0)
    assert plan(needs, rooms(2, [B])) == {"s0": (A,)}


def test_one_that_starves_takes_the_place_of_one_that_is_served_and_not_of_a_shielded_one() -> None:
    needs = {A: Need(2, demand=900.0, waiting=True), B: Need(2, waiting=True, starving=True)}
    assert plan(needs, rooms(2, [A])) == {"s0": (B,)}
    needs[A] = Need(2, demand=900.0, waiting=True, shielded=True)
    assert plan(needs, rooms(2, [A])) == {"s0": (A,)}


def test_a_new_model_goes_where_it_displaces_least() -> None:
    needs = {A: Need(2, demand=1.0), B: Need(2, demand=1.0), C: Need(2, waiting=True)}
    found = plan(needs, rooms(4, [A, B], []))
    assert C in found["s1"]
    assert set(found["s0"]) == {A, B}


def test_a_shard_is_not_given_what_it_refused() -> None:
    offers = frozenset({A})
    found = plan(
        {A: Need(1, standing=1), B: Need(1, standing=1)},
        {"s0": Room(9, offers=offers), "s1": Room(9, offers=frozenset({A, B}))},
    )
    assert found["s0"] == (A,)
    assert set(found["s1"]) == {A, B}


def test_what_outgrew_its_shard_stays_as_long_as_it_is_alone() -> None:
    assert plan({A: Need(5, standing=1)}, rooms(4, [A])) == {"s0": (A,)}
    assert plan({A: Need(5, standing=1)}, rooms(4, [])) == {"s0": ()}
    assert fits_nowhere(A, Need(5), rooms(4, []).values())
    assert not fits_nowhere(A, Need(4), rooms(4, []).values())


def test_without_shards_there_is_no_plan() -> None:
    assert plan({A: Need(1, waiting=True)}, {}) == {}


needs_of_all = st.fixed_dictionaries(
    {},
    optional={
        key: st.builds(
            Need,
            bytes=st.integers(1, 6),
            demand=st.sampled_from([0.0, 0.5, 3.0, 50.0]),
            waiting=st.booleans(),
            starving=st.booleans(),
            shielded=st.booleans(),
            standing=st.integers(1, NO_CLAIM),
        )
        for key in KEYS
    },
)
rooms_of_all = st.dictionaries(
    st.sampled_from(["s0", "s1", "s2", "s3"]),
    st.builds(
        Room,
        budget=st.integers(0, 12),
        held=st.frozensets(st.sampled_from(KEYS)),
        offers=st.frozensets(st.sampled_from(KEYS)),
    ),
)


@given(needs_of_all, rooms_of_all)
def test_no_budget_is_exceeded_and_room_is_not_left_to_what_waits(
    needs: dict[ModelKey, Need], shards: dict[str, Room]
) -> None:
    found = plan(needs, shards)
    assert found.keys() == shards.keys()
    for shard, hold in found.items():
        assert len(set(hold)) == len(hold)
        assert set(hold) <= shards[shard].offers & needs.keys()
        size = sum(needs[key].bytes for key in hold)
        assert size <= shards[shard].budget or len(hold) == 1
        free = shards[shard].budget - size
        for key, need in needs.items():
            if need.waiting and key in shards[shard].offers and need.bytes <= free:
                assert key in hold
    assert plan(needs, shards) == found


@given(needs_of_all, st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_a_plan_that_was_carried_out_is_kept(
    needs: dict[ModelKey, Need], budgets: list[int]
) -> None:
    """As long as demand stays what it is, nothing moves."""
    shards = {f"s{n}": Room(budget, offers=frozenset(KEYS)) for n, budget in enumerate(budgets)}
    for _ in range(6):  # it may take some plans, as copies move to where they are held
        found = plan(needs, shards)
        held = {shard: frozenset(hold) for shard, hold in found.items()}
        if all(shards[shard].held == held[shard] for shard in shards):
            return
        shards = {s: Room(room.budget, held[s], room.offers) for s, room in shards.items()}
    raise AssertionError(f"it never comes to rest: {found}")


def test_demand_fades_and_is_forgotten() -> None:
    demand = Demand()
    demand.asked(A, 10, 0.0)
    assert demand.of(A, 0.0) == 10
    assert 3.6 < demand.of(A, WINDOW_S) < 3.7
    demand.asked(A, 10, WINDOW_S)
    assert 13.6 < demand.of(A, WINDOW_S) < 13.7
    assert demand.of(A, 20 * WINDOW_S) == 0
    assert demand.of(B, 0.0) == 0
