"""Tenants share by images, whatever they send; within one the earliest deadline leaves first."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.models.key import ModelKey
from services.scheduler.descriptors import Piece, PieceKey
from services.scheduler.fairness import QUANTUM, FairQueue

MODEL = ModelKey("cats", 1)
MAX_PIECE = 12


def piece(number: int, images: int = 1, deadline: float = 1.0, tenant: str = "") -> Piece:
    return Piece(PieceKey("d", number), MODEL, images, deadline, tenant=tenant, arrival=number)


def anything(_: Piece) -> bool:
    return True


sizes = st.integers(1, MAX_PIECE)
drafts = st.lists(
    st.tuples(sizes, st.floats(0, 10), st.sampled_from("abc")), min_size=1, max_size=60
)
batches = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(drafts, batches)
def test_nothing_is_lost_doubled_or_miscounted(
    drafts: list[tuple[int, float, str]], batches: list[int]
) -> None:
    queue = FairQueue()
    pieces = [piece(number, *draft) for number, draft in enumerate(drafts)]
    for item in pieces:
        queue.put(item)
    left = set(map(id, pieces))
    for target in batches:
        taken = queue.take(target, 32, anything)
        assert bool(taken) == bool(left)
        assert len(taken) == 1 or sum(item.images for item in taken) <= 32
        assert {id(item) for item in taken} <= left
        left -= {id(item) for item in taken}
        assert queue.images == sum(item.images for item in pieces if id(item) in left)
        assert all(item.queued == (id(item) in left) for item in pieces)
    assert queue.tenants == {item.tenant for item in pieces if id(item) in left}


@given(drafts, batches)
def test_within_a_tenant_the_earliest_deadline_leaves_first(
    drafts: list[tuple[int, float, str]], batches: list[int]
) -> None:
    queue = FairQueue()
    for number, draft in enumerate(drafts):
        queue.put(piece(number, *draft))
    gone: dict[str, list[tuple[float, int]]] = {}
    for target in batches:
        for item in queue.take(target, 32, anything):
            gone.setdefault(item.tenant, []).append((item.deadline, item.arrival))
    assert all(order == sorted(order) for order in gone.values())


@settings(max_examples=60)
@given(
    st.lists(st.lists(sizes, min_size=40, max_size=40), min_size=2, max_size=4),
    st.lists(st.integers(1, 32), min_size=1, max_size=20),
)
def test_tenants_with_work_are_served_alike(flows: list[list[int]], batches: list[int]) -> None:
    queue = FairQueue()
    number = 0
    for tenant, images in enumerate(flows):
        for size in images:
            number += 1
            queue.put(piece(number, size, tenant=str(tenant)))
    served = dict.fromkeys(map(str, range(len(flows))), 0)
    for target in batches:
        for item in queue.take(target, 32, anything):
            served[item.tenant] += item.images
        if any(queue.images_of(tenant) == 0 for tenant in served):
            break
        # The bound of deficit round robin: a quantum and a piece on either side.
        assert max(served.values()) - min(served.values()) <= 2 * (QUANTUM + MAX_PIECE)


@given(drafts, st.floats(0, 10), st.integers(1, 40))
def test_what_is_due_too_early_or_does_not_fit_stays(
    drafts: list[tuple[int, float, str]], due: float, target: int
) -> None:
    queue = FairQueue()
    pieces = [piece(number, *draft) for number, draft in enumerate(drafts)]
    for item in pieces:
        queue.put(item)

    def even(item: Piece) -> bool:
        return item.arrival % 2 == 0

    possible = [item for item in pieces if item.deadline >= due and even(item)]
    taken = queue.take(target, 32, even, due)
    assert all(item.deadline >= due and even(item) for item in taken)
    assert bool(taken) == bool(possible)
    later = [item.deadline for item in pieces if item not in taken and item.deadline >= due]
    assert queue.first_due(due) == min(later, default=None)


def test_a_tenant_alone_is_not_charged() -> None:
    queue = FairQueue()
    for number in range(100):
        queue.put(piece(number, 8, tenant="first"))
    for _ in range(10):
        queue.take(32, 32, anything)
    queue.put(piece(100, 8, tenant="second"))
    tenants = [item.tenant for _ in range(3) for item in queue.take(32, 32, anything)]
    assert "second" in tenants[: QUANTUM // 8 + 1]


def test_a_batch_is_filled_to_the_nearest_piece() -> None:
    queue = FairQueue()
    for number in range(6):
        queue.put(piece(number, 8))
    assert len(queue.take(11, 32, anything)) == 1
    assert len(queue.take(12, 32, anything)) == 2
    assert len(queue.take(32, 20, anything)) == 2
