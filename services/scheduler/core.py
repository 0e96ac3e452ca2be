"""The scheduling core: one queue of pieces, shards that pull, grants that level them.

Pure: time and messages come in as arguments, grants go out as values, so that the benchmark's
virtual cluster drives the same class as production. All times are seconds on one monotonic
clock, the caller's; `now` never goes back.

After every batch of messages, and at `wake_at`, the caller delivers what `assign` returns. Every
100 ms or so it calls `expire`.

Who gets what, and why, is in granting.py; this module keeps the books:

    shards ── pulled, finished, left ──► Fleet (fleet.py): credits, clocks, costs
    dispatchers ── enqueue, ended, lost ─► Backlog (backlog.py): FairQueue ⇄ Leases
    requests ── may they come in? ──► Forecast (forecast.py): when they would have been run
    assign(now) ◄── Granting (granting.py): level, fairness, hedging
    orders(now) ◄── Placing (placing.py): which shards hold which models
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler import hedging
from services.scheduler.asked import Asked, ModelQueue
from services.scheduler.backlog import Backlog
from services.scheduler.descriptors import (
    Grant,
    Piece,
    PieceKey,
    Promise,
    Refusal,
    Serving,
)
from services.scheduler.expected import Expectations, Expected, RequestKey
from services.scheduler.fleet import Fleet, Shard
from services.scheduler.forecast import Forecast
from services.scheduler.granting import Granting
from services.scheduler.placing import Offer, Order, Placing
from services.scheduler.tally import Tally


class Scheduler:
    """All pieces that are queued or leased, and all shards. Not thread-safe."""

    def __init__(self, epoch: str, hedge_share: float = hedging.SHARE) -> None:
        """`epoch` tells this scheduler's grants from those of every other one.

        `hedge_share`: how many images may be leased twice, as a share of all granted ones.
        """
        self.tally = Tally()
        self._fleet = Fleet(self.tally.batch_ratio)
        self._backlog = Backlog()
        self._expected = Expectations()
        self._asked = Asked()
        self._placing = Placing()
        self._forecast = Forecast(self._fleet, self._backlog.queues, self._expected, self._placing)
        budget = hedging.HedgeBudget(hedge_share)
        self._granting = Granting(
            epoch, self._fleet, self._backlog.queues, self._backlog.leases, budget
        )

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
            self._backlog.take_back(grant_id)

    # What dispatchers say.

    def request(self, pieces: Sequence[Piece], now: float) -> Refusal | None:
        """Take in the pieces of a new request, or return why it is refused.

        The message carries for each request: model, tenant, what is left of the caller's time,
        and the id and images of each piece (at most the maximum batch).
        """
        first, images = pieces[0], sum(piece.images for piece in pieces)
        self._note_asked(first.model, images, now)
        predicted_s = self._forecast.queued_s(first.model, images, first.tenant, now)
        refusal = self._forecast.refusal(first.model, predicted_s, first.deadline - now)
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
        predicted_s = self._forecast.prepared_s(model, images, expected.tenant, now)
        refusal = self._forecast.refusal(model, predicted_s, expected.deadline - now)
        if refusal is None:
            self._expected.add(expected, Promise(now, predicted_s))
        else:
            self._asked.refused(model, images)
        self.tally.asked(refusal)
        return refusal

    def expected_came(self, key: RequestKey, last: PieceKey, now: float) -> None:
        """The pieces of a request, which may have been expected, are in the queue."""
        promise = self._expected.discard(key, now, prepared=True)
        if promise is not None and (piece := self._backlog.piece(last)) is not None:
            piece.promise = promise

    def expected_no_more(self, key: RequestKey, now: float) -> None:
        """The pieces of an expected request will never be there."""
        self._expected.discard(key, now)

    def enqueue(self, pieces: Iterable[Piece]) -> None:
        """Put pieces into the queue that were admitted before, here or by a former scheduler.

        A key that is known already is left alone.
        """
        for piece in pieces:
            self.tally.pieces += self._backlog.add(piece)

    def piece_ended(self, key: PieceKey, now: float) -> None:
        """The piece was answered. Sent with the first answer; further leases are void."""
        self._note_end(key, now)
        self._backlog.end(key, None)

    def piece_cancelled(self, key: PieceKey) -> None:
        """Nobody waits for the piece any more; what a shard does for it is wasted."""
        self._backlog.end(key, "cancelled")

    def piece_expired(self, key: PieceKey, now: float) -> None:
        """The time of the piece's caller is over, which `expire` would find out later."""
        self._note_end(key, now)
        self._backlog.end(key, "deadline")

    def piece_lost(self, key: PieceKey, grant_id: str, *, unreachable: bool) -> None:
        """That lease of the piece came to nothing; ignored unless it is open."""
        self._backlog.lose(key, grant_id, unreachable=unreachable)

    def dispatcher_left(self, dispatcher: str, now: float) -> None:
        """The dispatcher's stream ended: its pieces are forgotten."""
        self._expected.discard_of(dispatcher, now)
        for piece in self._backlog.pieces():
            if piece.key.dispatcher == dispatcher:
                self.piece_cancelled(piece.key)

    # What follows.

    def assign(self, now: float) -> list[Grant]:
        """Return the grants that credits and waiting pieces allow, leased from now on."""
        grants = self._granting.assign(now)
        for grant in grants:
            self.tally.granted(grant)
        return grants

    def piece(self, key: PieceKey) -> Piece | None:
        """Return a piece that is queued or leased."""
        return self._backlog.piece(key)

    def expire(self, now: float) -> list[Piece]:
        """Take back overdue leases; return the pieces dropped because their deadline passed."""
        self._fleet.expire(now)
        self._expected.expire(now)
        for lease in self._backlog.leases.expired(now):
            self._backlog.take_back(lease.grant.grant_id)
        dropped: list[Piece] = []
        for piece in self._backlog.pieces():
            if piece.deadline <= now:
                self.piece_expired(piece.key, now)
                dropped.append(piece)
        return dropped

    def orders(self, now: float) -> list[Order]:
        """Return what shards are to hold from now on, where that changes."""
        if not self._placing.due(now):
            return []
        coming = {model for model in self._expected.models if self._expected.images(model)}
        waiting = self._backlog.queues.keys() | coming
        return self._placing.orders(now, waiting, self._stop, self._fleet.restore)

    @property
    def wake_at(self) -> float | None:
        """When `assign` is to be called again though no message came; None: not before one.

        As of the last call of `assign`: each one may change it.
        """
        return self._granting.wake_at

    @property
    def queued_images(self) -> int:
        """Images that wait for a lease."""
        return self._backlog.images

    def queues(self, now: float) -> list[ModelQueue]:
        """Return what waits, of each version that was ever asked for."""
        forecast = self._forecast
        return [
            self._asked.queue(
                model,
                forecast.waiting(model),
                forecast.factor * forecast.queued_s(model, 1, "", now),
            )
            for model in self._asked.models
        ]

    @property
    def waiting(self) -> dict[ModelKey, int]:
        """Images that wait for a lease, by version; also 0 for each that a shard serves."""
        images = dict.fromkeys(self._fleet.models, 0)
        images.update((model, queue.images) for model, queue in self._backlog.queues.items())
        return images

    @property
    def shards(self) -> Mapping[str, Shard]:
        """All connected shards, by name; to be looked at only."""
        return self._fleet.shards

    @property
    def prediction_factor(self) -> float:
        """By how much predictions are lengthened (calibration.py)."""
        return self._forecast.factor

    def outstanding_images(self, shard: str) -> int:
        """Images in grants that the shard has not finished."""
        return sum(grant.images for grant in self._fleet.shards[shard].grants.values())

    def utilisation(self, shard: str, now: float) -> float:
        """Full-batch utilisation of a shard (usage.py)."""
        return self._fleet.shards[shard].usage.share(now)

    @property
    def wasted_images(self) -> Counter[str]:
        """Images leased for nothing so far, by reason; see DispatchResponse."""
        return self._backlog.leases.wasted

    @property
    def empty(self) -> bool:
        """Nothing is queued or leased, and nothing is remembered of what was."""
        return self._backlog.empty and not self._expected

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
        piece = self._backlog.piece(key)
        if piece is not None and piece.promise is not None:
            self._forecast.kept(piece.promise, now)
            self.tally.kept(piece.promise, now)
