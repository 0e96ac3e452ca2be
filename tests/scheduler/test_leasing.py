"""Who gets what, told scenario by scenario."""

import pytest

from services.common.models.key import ModelKey
from services.scheduler.leasing import LEASE_S, MIN_GRANT_IMAGES, Grant, LeaseBook
from services.scheduler.pieces import Piece, PieceKey

CATS, DOGS = ModelKey("cats", 1), ModelKey("dogs", 1)
LATER = 1e9


def book_with(*shards: str, pulls: int = 1, max_batch: int = 32) -> LeaseBook:
    """A book with shards that serve cats and dogs and have pulled."""
    book = LeaseBook("epoch")
    for shard in shards:
        book.shard_joined(shard)
        book.shard_serves(shard, {CATS: max_batch, DOGS: max_batch})
        for _ in range(pulls):
            book.shard_pulled(shard)
    return book


def enqueue(
    book: LeaseBook, *numbers: int, images: int = 8, model: ModelKey = CATS, deadline: float = LATER
) -> None:
    """Announce pieces of one dispatcher."""
    book.enqueue(Piece(PieceKey("d", number), model, images, deadline) for number in numbers)


def ids(grant: Grant) -> list[int]:
    """The numbers of a grant's pieces."""
    return [key.piece_id for key in grant.pieces]


def where(grants: list[Grant]) -> dict[str, list[int]]:
    """Shard → numbers of the pieces that it was granted."""
    return {grant.shard: ids(grant) for grant in grants}


def finish(book: LeaseBook, grant: Grant, *, pull: bool = True) -> None:
    """All of a grant is answered."""
    for key in grant.pieces:
        book.piece_ended(key)
    book.grant_finished(grant.shard, grant.grant_id)
    if pull:
        book.shard_pulled(grant.shard)


def test_a_request_is_spread_over_the_shards_that_asked() -> None:
    book = book_with("a", "b", "c", "d")
    enqueue(book, 1, 2, 3, 4)
    assert where(book.assign(0)) == {"a": [1], "b": [2], "c": [3], "d": [4]}


def test_a_little_work_is_not_spread_thin() -> None:
    book = book_with("a", "b")
    enqueue(book, *range(1, MIN_GRANT_IMAGES + 1), images=1)
    (grant,) = book.assign(0)
    assert grant.images == MIN_GRANT_IMAGES


def test_a_grant_is_as_large_as_the_share_and_the_batch_allow() -> None:
    book = book_with("a", "b", max_batch=32)
    enqueue(book, *range(1, 7))
    assert {grant.images for grant in book.assign(0)} == {24}
    small = book_with("a", max_batch=16)
    enqueue(small, *range(1, 7))
    (grant,) = small.assign(0)
    assert grant.images == 16


def test_a_piece_above_the_largest_batch_goes_alone() -> None:
    book = book_with("a", max_batch=4)
    enqueue(book, 1, 2)
    (grant,) = book.assign(0)
    assert (ids(grant), grant.images) == ([1], 8)


def test_one_grant_may_hold_pieces_of_several_dispatchers() -> None:
    book = book_with("a")
    book.enqueue(Piece(PieceKey(name, 1), CATS, 2, LATER) for name in ("d", "e"))
    (grant,) = book.assign(0)
    assert grant.pieces == (PieceKey("d", 1), PieceKey("e", 1))


def test_a_grant_is_for_one_model() -> None:
    book = book_with("a", pulls=2)
    enqueue(book, 1, model=DOGS)
    enqueue(book, 2, model=CATS)
    enqueue(book, 3, model=DOGS)
    assert [ids(grant) for grant in book.assign(0)] == [[1, 3], [2]]


def test_the_model_that_waits_longest_comes_first() -> None:
    book = book_with("a")
    enqueue(book, 1, model=DOGS)
    enqueue(book, *range(2, 50), model=CATS)
    (grant,) = book.assign(0)
    assert ids(grant) == [1]


def test_models_take_turns_in_the_order_of_arrival() -> None:
    book = book_with("a", max_batch=8)
    enqueue(book, 1, model=CATS)
    enqueue(book, 2, model=DOGS)
    enqueue(book, 3, model=CATS)
    turns = []
    for _ in range(3):
        (grant,) = book.assign(0)
        turns += ids(grant)
        finish(book, grant)
    assert turns == [1, 2, 3]


def test_the_shard_with_the_least_to_do_comes_first() -> None:
    book = book_with("a", "b", pulls=2)
    enqueue(book, 1)
    (first,) = book.assign(0)
    enqueue(book, 2)
    (second,) = book.assign(0)
    assert (first.shard, second.shard) == ("a", "b")


def test_nothing_is_granted_without_being_asked_for() -> None:
    book = book_with("a")
    enqueue(book, 1)
    (grant,) = book.assign(0)
    enqueue(book, 2)
    assert book.assign(0) == []
    book.shard_pulled("a")
    assert where(book.assign(0)) == {"a": [2]}
    assert grant.expires == LEASE_S


def test_a_draining_shard_gets_nothing_more() -> None:
    book = book_with("a", pulls=2)
    enqueue(book, 1)
    (grant,) = book.assign(0)
    book.shard_drains("a")
    enqueue(book, 2)
    assert book.assign(0) == []
    finish(book, grant, pull=False)
    assert book.outstanding_images("a") == 0


def test_a_version_is_granted_only_where_it_is_loaded() -> None:
    book = book_with("a")
    book.shard_serves("a", {DOGS: 8})
    enqueue(book, 1, model=CATS)
    assert book.assign(0) == []
    book.shard_joined("b")
    book.shard_serves("b", {CATS: 8})
    book.shard_pulled("b")
    assert where(book.assign(0)) == {"b": [1]}


def test_what_a_dead_shard_had_goes_to_another() -> None:
    book = book_with("a", pulls=2)
    enqueue(book, 1, 2, images=4)
    enqueue(book, 3, model=DOGS)
    assert len(book.assign(0)) == 2
    book.shard_left("a")
    book.shard_joined("b")
    book.shard_serves("b", {CATS: 32, DOGS: 32})
    book.shard_pulled("b")
    book.shard_pulled("b")
    assert [ids(grant) for grant in book.assign(0)] == [[1, 2], [3]]


def test_what_comes_back_takes_its_old_place() -> None:
    book = book_with("a", pulls=3, max_batch=8)
    enqueue(book, 1, 2, 3, 4)
    first, second, third = book.assign(0)
    for grant in (third, first, second):
        book.piece_lost(grant.pieces[0], grant.grant_id, unreachable=False)
    for _ in range(4):
        book.shard_pulled("a")
    assert [ids(grant) for grant in book.assign(0)] == [[1], [2], [3], [4]]


def test_expired_leases_come_back_in_the_old_order() -> None:
    book = book_with("a", pulls=2, max_batch=8)
    enqueue(book, 1, 2, 3)
    assert len(book.assign(0)) == 2
    book.expire(LEASE_S)
    for _ in range(3):
        book.shard_pulled("a")
    assert [ids(grant) for grant in book.assign(LEASE_S)] == [[1], [2], [3]]


def test_a_piece_avoids_the_shard_whose_lease_expired() -> None:
    book = book_with("a", "b")
    enqueue(book, 1)
    assert where(book.assign(0)) == {"a": [1]}
    book.expire(LEASE_S)
    book.shard_pulled("a")
    assert where(book.assign(LEASE_S)) == {"b": [1]}


def test_a_lost_piece_avoids_the_shard_that_could_not_be_reached() -> None:
    book = book_with("a", "b", pulls=2)
    enqueue(book, 1)
    (grant,) = book.assign(0)
    book.piece_lost(PieceKey("d", 1), grant.grant_id, unreachable=True)
    assert where(book.assign(0)) == {"b": [1]}


def test_a_shard_that_could_not_be_reached_is_better_than_none() -> None:
    book = book_with("a", pulls=2)
    enqueue(book, 1)
    (grant,) = book.assign(0)
    book.piece_lost(PieceKey("d", 1), grant.grant_id, unreachable=True)
    assert where(book.assign(0)) == {"a": [1]}


def test_a_piece_waits_for_a_busy_shard_rather_than_for_one_to_avoid() -> None:
    book = book_with("a", "b")
    enqueue(book, 1, 2)
    first, second = book.assign(0)
    book.shard_pulled("a")
    book.piece_lost(PieceKey("d", 1), first.grant_id, unreachable=True)
    assert book.assign(0) == []
    finish(book, second)
    assert where(book.assign(0)) == {"b": [1]}


def test_a_piece_that_waits_for_another_shard_does_not_hold_up_the_rest() -> None:
    book = book_with("a", "b")
    enqueue(book, 1, 2)
    first, _ = book.assign(0)
    book.piece_lost(PieceKey("d", 1), first.grant_id, unreachable=True)
    enqueue(book, 3)
    book.shard_pulled("a")
    assert where(book.assign(0)) == {"a": [3]}


def test_nobody_waits_for_a_shard_that_hangs() -> None:
    book = book_with("a", "b")
    enqueue(book, 1, 2)
    first, _ = book.assign(0)
    book.piece_lost(PieceKey("d", 1), first.grant_id, unreachable=True)
    book.grant_finished("a", first.grant_id)
    book.shard_pulled("a")
    assert book.assign(1) == []
    book.expire(LEASE_S)  # b never answered and never asked again
    assert where(book.assign(LEASE_S)) == {"a": [1, 2]}


def test_a_shard_that_never_finishes_is_rid_of_its_grants() -> None:
    book = book_with("a")
    enqueue(book, 1)
    (grant,) = book.assign(0)
    book.piece_ended(grant.pieces[0])
    assert book.outstanding_images("a") == 8
    book.expire(LEASE_S)
    assert book.outstanding_images("a") == 0


def test_a_late_word_of_an_old_lease_changes_nothing() -> None:
    book = book_with("a", "b", pulls=2)
    enqueue(book, 1)
    (old,) = book.assign(0)
    book.expire(LEASE_S)
    (new,) = book.assign(LEASE_S)
    book.piece_lost(PieceKey("d", 1), old.grant_id, unreachable=True)
    assert book.assign(LEASE_S) == []
    book.piece_lost(PieceKey("d", 1), new.grant_id, unreachable=True)
    assert len(book.assign(LEASE_S)) == 1


def test_a_piece_past_its_deadline_is_dropped_and_never_granted() -> None:
    book = book_with("a")
    enqueue(book, 1, deadline=5)
    enqueue(book, 2, deadline=50)
    assert where(book.assign(5)) == {"a": [2]}
    assert book.expire(5) == [PieceKey("d", 1)]
    assert book.expire(50) == [PieceKey("d", 2)]
    assert book.empty


def test_a_dispatcher_that_left_takes_its_pieces_with_it() -> None:
    book = book_with("a")
    book.enqueue(Piece(PieceKey("e", 1), CATS, 8, LATER) for _ in range(1))
    enqueue(book, 1, 2)
    book.assign(0)
    book.dispatcher_left("d")
    book.dispatcher_left("e")
    assert book.empty
    assert book.queued_images == 0


@pytest.mark.parametrize("leased", [False, True])
def test_a_known_piece_is_not_queued_twice(leased: bool) -> None:
    book = book_with("a", pulls=2)
    enqueue(book, 1)
    grants = book.assign(0) if leased else []
    enqueue(book, 1)
    grants += book.assign(0)
    assert [ids(grant) for grant in grants] == [[1]]


def test_no_two_schedulers_have_one_grant_id() -> None:
    grants = []
    for epoch in ("one", "two"):
        book = LeaseBook(epoch)
        book.shard_joined("a")
        book.shard_serves("a", {CATS: 8})
        book.shard_pulled("a")
        enqueue(book, 1)
        grants += book.assign(0)
    assert len({grant.grant_id for grant in grants}) == 2
