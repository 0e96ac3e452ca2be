"""The scheduling core: one queue of pieces, shards that pull, grants that level them.

Pure: time and messages come in as arguments, grants go out as values, so that the benchmark's
virtual cluster drives the same class as production. All times are seconds on one monotonic
clock, the caller's; `now` never goes back.

After every batch of messages, and at `wake_at`, the caller delivers what `assign` returns. Every
100 ms or so it calls `expire`.

Who gets what, and why, is in granting.py; this module keeps the books:

    shards ── pulled, finished, left ──► Fleet (fleet.py): credits, clocks, costs
    dispatchers ── enqueue, ended, lost ─► FairQueue (fairness.py) ⇄ Leases (leases.py)
    assign(now) ◄── Granting (granting.py): level, fairness, hedging
    orders(now) ◄── Placing (placing.py): which shards hold which models
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler import admission, hedging
from services.scheduler.asked import Asked, ModelQueue
from services.scheduler.calibration import Calibration
from services.scheduler.descriptors import (
    Grant,
    Piece,
    PieceKey,
    Promise,
    Refusal,
    Serving,
    Why,
)
from services.scheduler.expected import Expectations, Expected, RequestKey
from services.scheduler.fairness import FairQueue
from services.scheduler.fleet import FAR_S, Fleet, Shard
from services.scheduler.granting import Granting
from services.scheduler.leases import Leases
from services.scheduler.placing import Offer, Order, Placing
from services.scheduler.tally import Tally


class Scheduler:
    """All pieces that are queued or leased, and all shards. Not thread-safe."""

    def __init__(self, epoch: str, hedge_share: float = hedging.SHARE) -> None:
        """`epoch` tells this scheduler's grants from those of every other one.

        `hedge_share`: how many images may be leased twice, as a share of all granted ones.
        """
        self._arrivals = itertools.count(1)
        self.tally = Tally()
        self._fleet = Fleet(self.tally.batch_ratio)
        self._queues: dict[ModelKey, FairQueue] = {}
        self._expected = Expectations()
        self._calibration = Calibration()
        self._asked = Asked()
        self._leases = Leases()
        self._placing = Placing()
        budget = hedging.HedgeBudget(hedge_share)
        self._granting = Granting(epoch, self._fleet, self._queues, self._leases, budget)

    # What shards say.

    def shard_joined(self, shard: str, now: float) -> None:
        """A shard opened its stream; a former stream of the same id counts as ended."""
        self.shard_left(shard)
        self._fleet.join(shard, now)

    def shard_serves(self, shard: str, serving: Mapping[ModelKey, Serving]) -> None:
        """The shard can run these versions now, and no others.

        Its message carries, for each version, the maximum batch and what warming up took for
        each batch size. What was learned of a version that it served before is kept.
        """
        self._placing.has(shard, serving)
        stays = {
            model: terms
            for model, terms in serving.items()
            if not self._placing.leaves(shard, model)
        }
        self._fleet.serve(shard, stays)

    def shard_offers(self, shard: str, offer: Offer) -> None:
        """The shard could hold these versions, and is to be told which; see `orders`."""
        self._placing.offered(shard, offer)

    def shard_pulled(
        self, shard: str, now: float, remaining_s: float = 0.0, flight_s: float | None = None
    ) -> None:
        """The shard has room for one more grant: send it when `Lead.pull_in` says so.

        Its message carries the predicted rest of what its device runs (seconds), and the last
        time that it measured between a pull and the arrival of its tensors, less
        `Grant.parked_s` (absent until it measured one).
        """
        self._fleet.pulled(shard, now, remaining_s, flight_s)

    def shard_drains(self, shard: str) -> None:
        """The shard wants no more grants; it finishes those that it has."""
        self._fleet.serve(shard, {})
        self._fleet.forget_credits(shard)
        self._placing.left(shard)

    def grant_finished(
        self, shard: str, grant_id: str, now: float, ran: Iterable[Ran] = ()
    ) -> None:
        """The shard is done with a grant; its dispatchers tell what became of the pieces.

        Its message carries, for each batch that it made of the grant, the images as the device
        saw them (padding included) and the seconds on the device; none when nothing was run.
        Sent when the last batch ended, before the pull that may follow.
        """
        self._fleet.finished(shard, grant_id, now, ran)

    def shard_left(self, shard: str) -> None:
        """The shard's stream ended: what it was leased goes back to the queue."""
        self._placing.left(shard)
        for grant_id in self._fleet.leave(shard):
            self._take_back(grant_id)

    # What dispatchers say.

    def request(self, pieces: Sequence[Piece], now: float) -> Refusal | None:
        """Take in the pieces of a new request, or return why it is refused.

        The message carries for each request: model, tenant, what is left of the caller's time,
        and the id and images of each piece (at most the maximum batch).
        """
        first, images = pieces[0], sum(piece.images for piece in pieces)
        self._note_asked(first.model, images, now)
        predicted_s = self._predicted_s(first.model, images, first.tenant, now)
        refusal = self._refusal(first.model, predicted_s, first.deadline - now)
        self.tally.asked(refusal)
        if refusal is None:
            self.enqueue(pieces)
            pieces[-1].promise = Promise(now, predicted_s)
        else:
            self._asked.refused(first.model, images)
        return refusal

    def expect(self, expected: Expected, now: float) -> Refusal | None:
        """Admit a request whose pieces are still being prepared, or return why it is refused.

        What is admitted counts as queued from now on, until its pieces are or it is abandoned.
        """
        model, images = expected.model, expected.images
        self._note_asked(model, images, now)
        predicted_s = self._predicted_s(model, images, expected.tenant, now)
        if predicted_s and (prepared_s := self._expected.prepared_in(model, images)):
            # What is prepared last has at least its own run before it.
            predicted_s = max(predicted_s, prepared_s + self._fleet.run_s(model, images))
        if (refusal := self._refusal(model, predicted_s, expected.deadline - now)) is None:
            self._expected.add(expected, Promise(now, predicted_s))
        else:
            self._asked.refused(model, images)
        self.tally.asked(refusal)
        return refusal

    def expected_came(self, key: RequestKey, last: PieceKey, now: float) -> None:
        """The pieces of a request, which may have been expected, are in the queue."""
        promise = self._expected.discard(key, now, prepared=True)
        if promise is not None and (piece := self._leases.pieces.get(last)) is not None:
            piece.promise = promise

    def expected_no_more(self, key: RequestKey, now: float) -> None:
        """The pieces of an expected request will never be there."""
        self._expected.discard(key, now)

    def enqueue(self, pieces: Iterable[Piece]) -> None:
        """Put pieces into the queue that were admitted before, here or by a former scheduler.

        A key that is known already is left alone.
        """
        for piece in pieces:
            if piece.key not in self._leases.pieces:
                piece.arrival = next(self._arrivals)
                self._leases.pieces[piece.key] = piece
                self.tally.pieces += 1
                self._queue(piece)

    def piece_ended(self, key: PieceKey, now: float) -> None:
        """The piece was answered. Sent with the first answer; further leases are void."""
        self._note_end(key, now)
        self._end(key, None)

    def piece_cancelled(self, key: PieceKey) -> None:
        """Nobody waits for the piece any more; what a shard does for it is wasted."""
        self._end(key, "cancelled")

    def piece_expired(self, key: PieceKey, now: float) -> None:
        """The time of the piece's caller is over, which `expire` would find out later."""
        self._note_end(key, now)
        self._end(key, "deadline")

    def piece_lost(self, key: PieceKey, grant_id: str, *, unreachable: bool) -> None:
        """That lease of the piece came to nothing; ignored unless it is open."""
        piece = self._leases.pieces.get(key)
        if piece is None or grant_id not in piece.grants:
            return
        if unreachable and (lease := self._leases.get(grant_id)) is not None:
            piece.avoid |= {lease.grant.shard}
        if self._leases.lose(piece, grant_id):
            self._queue(piece)

    def dispatcher_left(self, dispatcher: str, now: float) -> None:
        """The dispatcher's stream ended: its pieces are forgotten."""
        self._expected.discard_of(dispatcher, now)
        for key in [key for key in self._leases.pieces if key.dispatcher == dispatcher]:
            self._end(key, "cancelled")

    # What follows.

    def assign(self, now: float) -> list[Grant]:
        """Return the grants that credits and waiting pieces allow, leased from now on."""
        grants = self._granting.assign(now)
        for grant in grants:
            self.tally.granted(grant)
        return grants

    def piece(self, key: PieceKey) -> Piece | None:
        """Return a piece that is queued or leased."""
        return self._leases.pieces.get(key)

    def expire(self, now: float) -> list[Piece]:
        """Take back overdue leases; return the pieces dropped because their deadline passed."""
        self._fleet.expire(now)
        self._expected.expire(now)
        for lease in self._leases.expired(now):
            self._take_back(lease.grant.grant_id)
        dropped: list[Piece] = []
        for key, piece in list(self._leases.pieces.items()):
            if piece.deadline <= now:
                self.piece_expired(key, now)
                dropped.append(piece)
        return dropped

    def orders(self, now: float) -> list[Order]:
        """Return what shards are to hold from now on, where that changes."""
        if not self._placing.due(now):
            return []
        coming = {model for model in self._expected.models if self._expected.images(model)}
        return self._placing.orders(now, self._queues.keys() | coming, self._stop)

    @property
    def wake_at(self) -> float | None:
        """When `assign` is to be called again though no message came; None: not before one.

        As of the last call of `assign`: each one may change it.
        """
        return self._granting.wake_at

    @property
    def queued_images(self) -> int:
        """Images that wait for a lease."""
        return sum(queue.images for queue in self._queues.values())

    def queues(self, now: float) -> list[ModelQueue]:
        """Return what waits, of each version that was ever asked for."""
        factor = self._calibration.factor
        return [
            self._asked.queue(
                model, self._waiting(model), factor * self._predicted_s(model, 1, "", now)
            )
            for model in self._asked.models
        ]

    @property
    def waiting(self) -> dict[ModelKey, int]:
        """Images that wait for a lease, by version; also 0 for each that a shard serves."""
        images = dict.fromkeys(self._fleet.models, 0)
        images.update((model, queue.images) for model, queue in self._queues.items())
        return images

    @property
    def shards(self) -> Mapping[str, Shard]:
        """All connected shards, by name; to be looked at only."""
        return self._fleet.shards

    @property
    def prediction_factor(self) -> float:
        """By how much predictions are lengthened (calibration.py)."""
        return self._calibration.factor

    def outstanding_images(self, shard: str) -> int:
        """Images in grants that the shard has not finished."""
        return sum(grant.images for grant in self._fleet.shards[shard].grants.values())

    def utilisation(self, shard: str, now: float) -> float:
        """Full-batch utilisation of a shard (usage.py)."""
        return self._fleet.shards[shard].usage.share(now)

    @property
    def wasted_images(self) -> Counter[str]:
        """Images leased for nothing so far, by reason; see DispatchResponse."""
        return self._leases.wasted

    @property
    def empty(self) -> bool:
        """Nothing is queued or leased, and nothing is remembered of what was."""
        return not (self._queues or self._expected) and self._leases.empty

    def _predicted_s(self, model: ModelKey, images: int, tenant: str, now: float) -> float:
        """Return when a new request would have been run, in seconds; 0 where that is not known.

        A model that no shard serves at the moment is waited for: it is loaded, or its shards are
        restarting.
        """
        lane = self._fleet.lane(model)
        if lane is None or not lane.members:
            return self._placing.load_s(model)
        self._fleet.settle(now)
        coming = self._expected.images(model)
        own, tenants = coming[tenant], coming.keys() | {tenant}
        if (queue := self._queues.get(model)) is not None:
            own, tenants = own + queue.images_of(tenant), tenants | queue.tenants
        more = admission.ahead(images, own, self._waiting(model), len(tenants))
        for other in self._queues.keys() | self._expected.models:
            if other != model:
                more += int(self._fleet.overlap(model, other) * self._waiting(other))
        predicted_s = lane.filled_at(more, now) - now
        # Where all shards hang, it waits as well.
        return 0.0 if predicted_s > FAR_S / 2 else predicted_s

    def _refusal(self, model: ModelKey, predicted_s: float, budget_s: float) -> Refusal | None:
        if self._fleet.lane(model) is None:
            return self._cold_refusal(model, predicted_s, budget_s)
        return admission.refusal(predicted_s * self._calibration.factor, budget_s)

    def _cold_refusal(self, model: ModelKey, load_s: float, budget_s: float) -> Refusal | None:
        if self._placing.too_large(model):
            return Refusal(load_s, budget_s, admission.MAX_RETRY_S, Why.MODEL_TOO_LARGE)
        refusal = admission.refusal(load_s, budget_s)
        return refusal and replace(refusal, retry_after_s=load_s, why=Why.MODEL_LOADING)

    def _note_asked(self, model: ModelKey, images: int, now: float) -> None:
        served = self._fleet.lane(model) is not None
        self._asked.asked(model, images)
        self._placing.asked(model, images, now, served=served)

    def _stop(self, shard: str, model: ModelKey) -> bool:
        """Grant a shard nothing more of a model; tell whether it has nothing of it in hand."""
        self._fleet.withdraw(shard, model)
        in_hand = self._fleet.shards[shard].grants.values()
        return all(grant.model != model for grant in in_hand)

    def _note_end(self, key: PieceKey, now: float) -> None:
        piece = self._leases.pieces.get(key)
        if piece is not None and piece.promise is not None:
            self._calibration.kept(piece.promise, now)
            self.tally.kept(piece.promise, now)

    def _waiting(self, model: ModelKey) -> int:
        """Images that wait or are to come."""
        queue = self._queues.get(model)
        return self._expected.images(model).total() + (queue.images if queue else 0)

    def _queue(self, piece: Piece) -> None:
        queue = self._queues.get(piece.model)
        if queue is None:
            queue = self._queues[piece.model] = FairQueue()
        queue.put(piece)

    def _end(self, key: PieceKey, reason: str | None) -> None:
        piece = self._leases.pieces.get(key)
        if piece is None:
            return
        if piece.queued:
            queue = self._queues[piece.model]
            queue.discard(piece)
            if not queue:
                del self._queues[piece.model]
        self._leases.end(piece, reason)

    def _take_back(self, grant_id: str) -> None:
        for piece in self._leases.take_back(grant_id):
            self._queue(piece)
