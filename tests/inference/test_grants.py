"""Grants and their parts may come in any order; each part leaves once, each grant is told once."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.inference.grants import REMEMBER_S, GrantBook
from tests.repeatable import repeatable

WAIT = 5
picks = st.integers(0, 1000)


def test_a_batch_leaves_when_its_last_part_is_there() -> None:
    book: GrantBook[str] = GrantBook()
    assert not book.announce("g", 2, expires=10)
    assert book.add("g", "a", 2, expires=10) is None
    assert book.add("g", "b", 2, expires=10) == ["a", "b"]
    assert book.in_hand == 1
    assert book.finish("g", now=3)
    assert book.in_hand == 0
    assert book.next_expiry is None


def test_parts_may_come_before_the_announcement() -> None:
    book: GrantBook[str] = GrantBook()
    assert book.add("g", "a", 2, expires=5) is None
    assert book.in_hand == 0
    assert not book.announce("g", 2, expires=10)
    assert book.next_expiry == 5
    assert book.add("g", "b", 2, expires=5) == ["a", "b"]
    assert book.finish("g", now=6)


def test_a_grant_that_is_finished_before_its_announcement_is_told_then() -> None:
    book: GrantBook[str] = GrantBook()
    assert book.add("g", "a", 1, expires=5) == ["a"]
    assert not book.finish("g", now=6)
    assert book.announce("g", 1, expires=10)
    assert book.in_hand == 0
    assert book.next_expiry is None


def test_what_is_there_leaves_when_the_grant_expires() -> None:
    book: GrantBook[str] = GrantBook()
    book.announce("some", 2, expires=5)
    book.announce("none", 1, expires=5)
    book.add("some", "a", 2, expires=5)
    assert book.expire(4.9) == []
    assert book.expire(5) == [("some", ["a"]), ("none", [])]
    assert book.add("some", "late", 2, expires=9) == ["late"]
    assert book.finish("some", now=6)
    assert book.finish("none", now=6)
    assert not book.finish("some", now=7)


def test_a_grant_that_runs_does_not_expire() -> None:
    book: GrantBook[str] = GrantBook()
    book.announce("g", 1, expires=5)
    assert book.add("g", "a", 1, expires=5) == ["a"]
    assert book.next_expiry is None
    assert book.expire(99) == []
    assert book.finish("g", now=100)


def test_a_finished_grant_is_not_remembered_for_ever() -> None:
    book: GrantBook[str] = GrantBook()
    book.add("g", "a", 1, expires=5)
    book.finish("g", now=6)
    assert book.next_expiry == 6 + REMEMBER_S
    assert book.expire(6 + REMEMBER_S) == []
    assert book.next_expiry is None


def test_a_new_scheduler_hears_nothing_of_the_grants_of_the_former_one() -> None:
    book: GrantBook[str] = GrantBook()
    for grant_id, parts in (("running", 1), ("waiting", 2), ("nothing", 1)):
        book.announce(grant_id, parts, expires=5)
    assert book.add("running", "a", 1, expires=5) == ["a"]
    assert book.add("waiting", "b", 2, expires=5) is None
    book.forget_scheduler()
    assert book.in_hand == 0
    assert not book.finish("running", now=1)
    assert book.expire(5) == [("waiting", ["b"])]
    assert not book.finish("waiting", now=6)


def test_the_end_of_a_batch_does_not_end_a_part_that_came_later() -> None:
    book: GrantBook[str] = GrantBook()
    book.announce("g", 2, expires=5)
    assert book.expire(5) == [("g", [])]
    assert book.add("g", "late", 2, expires=10) == ["late"]
    assert book.finish("g", now=6)
    assert book.add("g", "later", 2, expires=11) is None
    assert not book.finish("g", now=7)
    assert book.expire(11) == [("g", ["later"])]


class Grants(RuleBasedStateMachine):
    """Announcements, parts and ends in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.book: GrantBook[int] = GrantBook()
        self.now = 0
        self.grants = 0
        self.parts = 0
        self.announced: set[str] = set()
        self.told: set[str] = set()
        self.waiting: set[int] = set()
        self.running: list[str] = []

    def _grant(self, pick: int) -> str:
        # Mostly one of the last, so that much happens to each.
        return f"g{max(0, self.grants - pick % 4)}"

    def _left(self, grant_id: str, batch: list[int]) -> None:
        assert len(set(batch)) == len(batch)
        assert set(batch) <= self.waiting
        self.waiting -= set(batch)
        self.running.append(grant_id)

    def _told(self, grant_id: str, told: bool) -> None:
        if told:
            assert grant_id in self.announced
            self.announced.discard(grant_id)
            self.told.add(grant_id)

    @rule(parts=st.integers(1, 3))
    def announce_a_new_grant(self, parts: int) -> None:
        self.grants += 1
        grant_id = f"g{self.grants}"
        self.announced.add(grant_id)
        self._told(grant_id, self.book.announce(grant_id, parts, self.now + WAIT))

    @rule(pick=picks, parts=st.integers(1, 3))
    def announce_after_parts(self, pick: int, parts: int) -> None:
        grant_id = self._grant(pick)
        if grant_id not in self.announced | self.told:
            self.announced.add(grant_id)
            self._told(grant_id, self.book.announce(grant_id, parts, self.now + WAIT))

    @rule()
    def a_grant_becomes_known_by_its_parts(self) -> None:
        self.grants += 1

    @rule(pick=picks, parts=st.integers(1, 3))
    def part_comes(self, pick: int, parts: int) -> None:
        grant_id = self._grant(pick)
        self.parts += 1
        self.waiting.add(self.parts)
        batch = self.book.add(grant_id, self.parts, parts, self.now + WAIT)
        if batch is not None:
            assert self.parts in batch
            self._left(grant_id, batch)

    @rule(seconds=st.integers(1, 2 * WAIT))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for grant_id, batch in self.book.expire(self.now):
            self._left(grant_id, batch)
        expiry = self.book.next_expiry
        assert expiry is None or expiry > self.now

    @precondition(lambda self: self.running)
    @rule(pick=picks)
    def batch_has_run(self, pick: int) -> None:
        grant_id = self.running.pop(pick % len(self.running))
        self._told(grant_id, self.book.finish(grant_id, self.now))

    @rule()
    def scheduler_is_lost(self) -> None:
        self.announced.clear()
        self.book.forget_scheduler()

    @invariant()
    def what_is_in_hand_was_announced_and_not_told(self) -> None:
        assert self.book.in_hand == len(self.announced)

    def teardown(self) -> None:
        self.time_passes(WAIT)
        while self.running:
            self.batch_has_run(0)
        assert not self.waiting
        assert not self.announced
        self.time_passes(int(REMEMBER_S))
        assert self.book.next_expiry is None
        assert self.book.in_hand == 0


TestGrants = Grants.TestCase
TestGrants.settings = settings(repeatable, max_examples=60, stateful_step_count=40)
