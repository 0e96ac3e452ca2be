"""Requests on their way to the queue, and how long the way is."""

import pytest

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Piece, PieceKey, Promise, Serving
from services.scheduler.expected import Expectations, Expected, RequestKey

MODEL = ModelKey("m", 1)
OTHER = ModelKey("n", 1)


def request(number: int, images: int = 1, deadline: float = 1.0, **named: str) -> Expected:
    """A request of dispatcher d."""
    dispatcher = named.get("dispatcher", "d")
    return Expected(
        RequestKey(dispatcher, number), MODEL, images, deadline, named.get("tenant", "")
    )


def scheduler(image_s: float = 0.01) -> Scheduler:
    """One shard that runs an image in so many seconds."""
    core = Scheduler("e")
    core.shard_joined("s", 0.0)
    measured = (Ran(1, image_s), Ran(32, 32 * image_s))
    core.shard_serves("s", {MODEL: Serving(32, measured)})
    return core


def test_images_are_counted_until_they_come() -> None:
    expectations = Expectations()
    expectations.add(request(1, 3, tenant="a"), Promise(0.0, 0.0))
    expectations.add(request(2, 4, tenant="b"), Promise(0.0, 0.0))
    assert dict(expectations.images(MODEL)) == {"a": 3, "b": 4}
    assert not expectations.images(OTHER)
    expectations.discard(RequestKey("d", 1), 0.1, prepared=True)
    expectations.discard(RequestKey("d", 1), 0.1, prepared=True)
    expectations.discard(RequestKey("d", 9), 0.1)
    assert dict(expectations.images(MODEL)) == {"b": 4}
    expectations.discard_of("d", 0.1)
    assert not expectations
    assert not expectations.images(MODEL)


def test_a_request_that_is_announced_again_counts_once() -> None:
    expectations = Expectations()
    expectations.add(request(1, 3), Promise(0.0, 0.0))
    expectations.add(request(1, 5), Promise(0.1, 0.0))
    assert expectations.images(MODEL).total() == 5


def test_late_ones_are_forgotten() -> None:
    expectations = Expectations()
    expectations.add(request(1, deadline=1.0), Promise(0.0, 0.0))
    expectations.add(request(2, deadline=2.0), Promise(0.0, 0.0))
    expectations.expire(1.0)
    assert expectations.images(MODEL).total() == 1
    expectations.expire(2.0)
    assert not expectations


def test_the_way_is_learned_from_those_who_took_it() -> None:
    expectations = Expectations()
    now = 0.0
    for turn in range(40):  # ten images at a time, each of which takes 20 ms
        keys = [RequestKey("d", turn * 10 + n) for n in range(10)]
        for key in keys:
            expectations.add(Expected(key, MODEL, 1, now + 10), Promise(now, 0.0))
        for key in keys:
            now += 0.02
            expectations.discard(key, now, prepared=True)
    assert expectations.prepared_in(MODEL, 10) == pytest.approx(0.2, rel=0.2)
    assert expectations.prepared_in(MODEL, 20) == pytest.approx(0.4, rel=0.3)
    assert expectations.prepared_in(OTHER, 10) == 0.0


def test_those_who_gave_up_teach_nothing_and_those_who_were_late_do() -> None:
    patient, hasty = Expectations(), Expectations()
    for number in range(20):
        patient.add(request(number, deadline=1.0), Promise(0.0, 0.0))
        patient.discard(RequestKey("d", number), 0.5)
        hasty.add(request(number, deadline=1.0), Promise(0.0, 0.0))
        hasty.discard(RequestKey("d", number), 1.0)
    assert patient.prepared_in(MODEL, 1) < 0.01
    assert hasty.prepared_in(MODEL, 1) > 0.5


def test_what_is_expected_keeps_others_out_before_it_is_queued() -> None:
    core = scheduler(image_s=0.01)
    for number in range(60):  # 0.6 s of work, within 0.7 of a second
        assert core.expect(request(number), 0.0) is None
    refusal = core.expect(request(99, images=20), 0.0)
    assert refusal is not None
    assert refusal.predicted_s > 0.7
    for number in range(60):
        core.expected_no_more(RequestKey("d", number), 0.01)
    assert core.empty
    assert core.expect(request(99, images=20), 0.01) is None


def test_what_has_come_is_counted_once() -> None:
    core = scheduler(image_s=0.01)
    assert core.expect(request(1, images=30), 0.0) is None
    core.enqueue([Piece(PieceKey("d", 1), MODEL, 30, 1.0)])
    core.expected_came(RequestKey("d", 1), PieceKey("d", 1), 0.0)
    assert core.expect(request(2, images=30), 0.0) is None
    refusal = core.expect(request(3, images=30), 0.0)
    assert refusal is not None
    assert refusal.predicted_s == pytest.approx(0.9, rel=0.1)


def test_slow_preparation_refuses_though_shards_idle() -> None:
    core = scheduler(image_s=0.001)
    now = 0.0
    for number in range(50):
        assert core.expect(request(number, deadline=now + 10), now) is None
        now += 0.5
        core.expected_came(RequestKey("d", number), PieceKey("d", number), now)
    assert core.expect(request(98, deadline=now + 10), now) is None
    refusal = core.expect(request(99, deadline=now + 0.2), now)
    assert refusal is not None
    assert refusal.predicted_s > 0.3


def test_a_dispatcher_takes_its_expectations_along() -> None:
    core = scheduler()
    assert core.expect(request(1), 0.0) is None
    assert core.expect(request(1, dispatcher="other"), 0.0) is None
    core.dispatcher_left("d", 0.1)
    still = []
    for now in (0.5, 1.0):
        core.expire(now)
        still.append(not core.empty)
    assert still == [True, False]


def test_predictions_that_are_too_short_are_lengthened() -> None:
    core = scheduler(image_s=0.01)
    now = 0.0
    for number in range(60):  # each takes half as long again as predicted
        pieces = [Piece(PieceKey("d", number), MODEL, 20, now + 10.0)]
        assert core.request(pieces, now) is None
        promise = pieces[0].promise
        assert promise is not None
        now += 1.5 * promise.predicted_s
        core.piece_ended(pieces[0].key, now)
    refusal = core.expect(request(99, images=20, deadline=now + 0.35), now)
    assert refusal is not None
    assert refusal.predicted_s == pytest.approx(0.27, rel=0.1)
    assert core.expect(request(99, images=20, deadline=now + 0.5), now) is None


def test_short_waits_say_nothing_about_long_ones() -> None:
    core = scheduler(image_s=0.01)
    now = 0.0
    for number in range(60):
        pieces = [Piece(PieceKey("d", number), MODEL, 5, now + 10.0)]
        assert core.request(pieces, now) is None
        now += 0.15
        core.piece_ended(pieces[0].key, now)
    assert core.expect(request(99, images=20, deadline=now + 0.35), now) is None


def test_predictions_that_are_too_long_are_left_alone() -> None:
    core = scheduler(image_s=0.01)
    now = 0.0
    for number in range(60):
        pieces = [Piece(PieceKey("d", number), MODEL, 20, now + 10.0)]
        assert core.request(pieces, now) is None
        now += 0.05
        core.piece_ended(pieces[0].key, now)
    assert core.expect(request(99, images=20, deadline=now + 0.25), now) is not None
    assert core.expect(request(99, images=20, deadline=now + 0.35), now) is None
