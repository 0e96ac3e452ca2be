"""What the scheduler decides in situations that a person can follow."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler import admission
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Piece, PieceKey, Refusal, Serving
from services.scheduler.hedging import BURST, HedgeBudget
from services.scheduler.usage import Usage

MODEL = ModelKey("cats", 1)
FAST = Serving(32, (Ran(1, 0.005), Ran(32, 0.036)))
SLOW = Serving(32, (Ran(1, 0.050), Ran(32, 0.360)))


def scheduler(**shards: Serving) -> Scheduler:
    made = Scheduler("epoch")
    for name, serving in shards.items():
        made.shard_joined(name, 0.0)
        made.shard_serves(name, {MODEL: serving})
    return made


def pieces(count: int, *, images: int = 8, deadline: float = 10.0, tenant: str = "") -> list[Piece]:
    return [
        Piece(PieceKey(f"d-{tenant}", number), MODEL, images, deadline, tenant)
        for number in range(count)
    ]


def asked(
    core: Scheduler, images: int, deadline: float, tenant: str = "", now: float = 0.0
) -> Refusal | None:
    """Ask for one more request, of one piece."""
    return core.request([Piece(PieceKey("asks", images), MODEL, images, deadline, tenant)], now)


def test_equal_idle_shards_share_the_queue() -> None:
    core = scheduler(a=FAST, b=FAST)
    core.enqueue(pieces(4))
    core.shard_pulled("a", 0.0)
    core.shard_pulled("b", 0.0)
    assert sorted(grant.images for grant in core.assign(0.0)) == [16, 16]


def test_the_fast_shard_is_preferred() -> None:
    core = scheduler(slow=SLOW, fast=FAST)
    core.shard_pulled("slow", 0.0)
    core.shard_pulled("fast", 0.0)
    core.enqueue([Piece(PieceKey("d", 0), MODEL, 8, 10.0, explain=True)])
    (grant,) = core.assign(0.0)
    assert grant.shard == "fast"
    assert [candidate.shard for candidate in grant.best] == ["fast", "slow"]
    assert grant.best[0].finish_in_s == pytest.approx(0.012, rel=0.01)


def test_a_much_slower_shard_is_parked_until_it_is_the_better_choice() -> None:
    core = scheduler(slow=SLOW, fast=FAST)
    core.shard_pulled("fast", 0.0)
    core.enqueue(pieces(4))
    core.assign(0.0)
    core.shard_pulled("slow", 0.0)
    core.enqueue([Piece(PieceKey("d", 9), MODEL, 8, 10.0)])
    assert core.assign(0.0) == []
    assert core.wake_at is not None
    # The fast one hangs: the longer it does, the worse it looks.
    (grant,) = core.assign(0.3)
    assert grant.shard == "slow"
    assert grant.parked_s == pytest.approx(0.3)


def test_a_piece_that_a_slow_shard_cannot_finish_in_time_is_left_to_a_fast_one() -> None:
    core = scheduler(slow=SLOW, fast=FAST)
    core.shard_pulled("fast", 0.0)
    core.enqueue(pieces(8))
    core.assign(0.0)
    core.enqueue([Piece(PieceKey("d", 99), MODEL, 8, deadline=0.1)])
    core.shard_pulled("slow", 0.0)
    assert PieceKey("d", 99) not in {key for grant in core.assign(0.0) for key in grant.pieces}
    core.shard_pulled("fast", 0.037)
    (grant, *_) = core.assign(0.037)
    assert grant.shard == "fast"
    assert PieceKey("d", 99) in grant.pieces


def test_a_piece_that_is_late_already_makes_no_other_one_late() -> None:
    core = scheduler(a=FAST)
    late, soon = PieceKey("d", 98), PieceKey("d", 99)
    core.enqueue(pieces(8))
    core.enqueue([Piece(late, MODEL, 8, deadline=0.01), Piece(soon, MODEL, 8, deadline=0.04)])
    core.shard_pulled("a", 0.0)
    (grant,) = core.assign(0.0)
    assert soon in grant.pieces
    assert late not in grant.pieces
    assert grant.finish <= 0.04


def test_a_piece_of_another_tenant_makes_nothing_late_either() -> None:
    core = scheduler(a=FAST)
    soon = PieceKey("d", 99)
    core.enqueue(pieces(8, tenant="noisy"))
    core.enqueue([Piece(soon, MODEL, 8, deadline=0.04, tenant="quiet")])
    core.shard_pulled("a", 0.0)
    (grant,) = core.assign(0.0)
    assert soon in grant.pieces
    assert grant.finish <= 0.04


def test_a_hanging_shard_is_hedged_and_the_first_answer_counts() -> None:
    core = scheduler(a=FAST, b=FAST)
    for round_ in range(40):  # saves up a budget
        now = round_ * 0.1
        core.enqueue(pieces(4, deadline=now + 10))
        for shard in "ab":
            core.shard_pulled(shard, now)
        for grant in core.assign(now):
            core.grant_finished(grant.shard, grant.grant_id, now, [Ran(grant.images, 0.020)])
            for key in grant.pieces:
                core.piece_ended(key, now)
    core.shard_pulled("a", 5.0)
    core.enqueue(pieces(1, deadline=9.0))
    (first,) = core.assign(5.0)
    core.shard_pulled("b", 5.0)
    assert core.assign(5.01) == []
    assert core.wake_at is not None
    (second,) = core.assign(5.2)
    assert (first.shard, second.shard) == ("a", "b")
    assert second.hedge
    assert second.pieces == first.pieces
    core.piece_ended(first.pieces[0], 5.2)
    assert core.empty
    assert core.wasted_images == {"hedged": 8}


def test_an_expired_lease_is_leased_to_another_shard() -> None:
    core = scheduler(a=FAST, b=FAST)
    core.shard_pulled("a", 0.0)
    core.enqueue(pieces(2))
    (first,) = core.assign(0.0)
    assert core.expire(first.expires - 0.001) == []
    core.expire(first.expires)
    assert core.outstanding_images("a") == 0
    assert core.queued_images == 16
    core.shard_pulled("b", first.expires)
    (second,) = core.assign(first.expires)
    assert second.shard == "b"
    # The first one hangs and counts for nothing any more: all that waits goes to the other.
    assert set(second.pieces) == {PieceKey("d-", 0), PieceKey("d-", 1)} >= set(first.pieces)


def test_a_late_report_does_not_undo_what_a_pull_said() -> None:
    core = scheduler(a=FAST, b=SLOW)
    core.shard_pulled("a", 0.0)
    core.enqueue(pieces(4))
    (first,) = core.assign(0.0)
    core.enqueue([Piece(PieceKey("d", 50), MODEL, 8, 10.0)])
    core.shard_pulled("a", 0.035, remaining_s=0.001)
    (second,) = core.assign(0.035)
    core.shard_pulled("a", 0.047, remaining_s=0.001)
    core.grant_finished("a", first.grant_id, 0.047, [Ran(first.images, 0.036)])
    core.enqueue([Piece(PieceKey("d", 51), MODEL, 8, 10.0)])
    (third,) = core.assign(0.047)
    assert second.shard == third.shard == "a"
    assert third.finish == pytest.approx(0.060, abs=0.002)


def test_a_shard_that_works_for_a_former_scheduler_is_not_late_for_ever() -> None:
    core = scheduler(a=FAST, b=SLOW)
    core.shard_pulled("a", 0.0, remaining_s=0.005)
    core.shard_pulled("b", 0.0)
    core.grant_finished("a", "former-1", 0.005, [Ran(8, 0.012)])
    core.enqueue(pieces(1))
    (grant,) = core.assign(1.0)
    assert grant.shard == "a"


def test_models_take_turns() -> None:
    other = ModelKey("dogs", 1)
    core = Scheduler("epoch")
    core.shard_joined("a", 0.0)
    core.shard_serves("a", {MODEL: FAST, other: FAST})
    core.enqueue(pieces(20))
    core.enqueue([Piece(PieceKey("dogs", n), other, 8, 10.0) for n in range(20)])
    for _ in range(4):
        core.shard_pulled("a", 0.0)
    assert [grant.model for grant in core.assign(0.0)] == [MODEL, other, MODEL, other]


def test_a_full_queue_refuses_the_noisy_tenant_and_not_the_quiet_one() -> None:
    core = scheduler(a=FAST)
    core.enqueue(pieces(8, tenant="noisy"))
    noisy = asked(core, 16, 0.1, "noisy")
    assert noisy is not None
    assert noisy.predicted_s > noisy.allowed_s == pytest.approx(0.07)
    assert noisy.retry_after_s == pytest.approx(noisy.predicted_s - noisy.allowed_s)
    assert asked(core, 16, 0.1, "quiet") is None
    assert asked(core, 16, 1.0, "noisy") is None


def test_a_model_that_nothing_serves_is_taken_in() -> None:
    assert asked(Scheduler("epoch"), 10_000, 0.1) is None


@given(st.integers(1, 64), st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 9))
def test_a_tenant_waits_for_no_more_than_there_is(
    images: int, own: int, others: int, tenants: int
) -> None:
    ahead = admission.ahead(images, own, own + others, tenants)
    assert images + own <= ahead <= images + own + others


@given(st.lists(st.integers(1, 400), max_size=50))
def test_hedging_never_exceeds_its_budget(grants: list[int]) -> None:
    budget = HedgeBudget()
    granted = hedged = 0
    for images in grants:
        budget.earn(images)
        granted += images
        while budget.covers(8):
            budget.spend(8)
            hedged += 8
        assert hedged <= 0.02 * granted + 1e-6
    assert not budget.covers(math.ceil(BURST) + 1)


def test_full_batch_utilisation_tells_how_much_more_fits() -> None:
    usage = Usage(0.0)
    for step in range(1, 400):  # one image each 5 ms: always busy, but 1.125 ms an image if full
        usage.ran(0.001125, step * 0.005)
    assert usage.share(400 * 0.005) == pytest.approx(0.225, rel=0.05)
    assert usage.share(60.0) < 0.01


def test_nothing_is_left_to_a_shard_that_hangs() -> None:
    core = scheduler(hangs=FAST, works=SLOW)
    core.shard_pulled("hangs", 0.0)
    core.enqueue(pieces(1, images=1))
    (lost,) = core.assign(0.0)
    assert lost.shard == "hangs"
    core.shard_pulled("works", 1.0)
    core.expire(lost.expires)
    core.enqueue([Piece(PieceKey("d", 99), MODEL, 1, 100.0)])
    granted = [piece for grant in core.assign(lost.expires) for piece in grant.pieces]
    assert len(granted) == 2


def test_nothing_is_left_to_a_shard_that_never_pulls() -> None:
    core = scheduler(silent=FAST, works=SLOW)
    core.shard_pulled("works", 0.0)
    core.enqueue(pieces(1, images=1))
    assert core.assign(0.0) == []
    core.expire(1.0)
    (grant,) = core.assign(1.0)
    assert grant.shard == "works"
    core.shard_pulled("silent", 2.0)
    core.enqueue([Piece(PieceKey("d", 99), MODEL, 1, 100.0)])
    (grant,) = core.assign(2.0)
    assert grant.shard == "silent"


def test_requests_wait_for_shards_that_all_hang() -> None:
    core = scheduler(a=FAST)
    core.shard_pulled("a", 0.0)
    core.enqueue(pieces(1))
    (grant,) = core.assign(0.0)
    core.expire(grant.expires)
    assert asked(core, 1, grant.expires + 5, now=grant.expires) is None
