"""Leases without a scheduler: a cluster whose scheduler is gone keeps serving."""

import itertools
import time
from collections.abc import Collection
from typing import Final, NamedTuple

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2
from gateway.pieces import Piece
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost
from services.common.scheduling.placement import LoadReport, Placement

FLIGHT_S: Final = 0.005
"""How long a piece takes to reach a shard and its report to come back."""


class Placed(NamedTuple):
    """A lease that this dispatcher gave itself."""

    lease: scheduler_pb2.Lease
    send: int
    """Number for `ended`."""


class Fallback:
    """Places pieces by predicted finish, from what shards report and what was sent since."""

    def __init__(self, dispatcher: str) -> None:
        self._dispatcher = dispatcher
        self._placement = Placement(FLIGHT_S)
        self._grants = itertools.count(1)

    def shards_are(self, shards: Collection[str]) -> None:
        """Forget shards that are no longer members."""
        self._placement.shards_are(shards)

    def reported(self, shard: str, report: inference_pb2.WatchShardResponse) -> None:
        """Take in what a shard says of itself, models included."""
        costs = {
            ModelKey.from_message(model.model): Cost(model.batch_seconds, model.image_seconds)
            for model in report.models
            if not model.HasField("ensemble")  # no shard runs one
        }
        dearest = max((cost.c for cost in costs.values()), default=0.0)
        load = LoadReport(report.sequence, report.load.outstanding_images * dearest, costs)
        self._placement.reported(shard, load, time.monotonic())

    def lease(self, piece: Piece) -> Placed | None:
        """Choose a shard for a piece; None when no shard is known to serve its model."""
        model = ModelKey.from_message(piece.model)
        images = len(piece.positions)
        found = self._placement.place(model, images, time.monotonic(), piece.avoid)
        if found is None:
            return None
        shard, send = found
        lease = scheduler_pb2.Lease(
            grant_id=f"{self._dispatcher}-{next(self._grants)}",
            grant_parts=1,
            shard=shard,
            piece_ids=[piece.piece_id],
            model=piece.model,
        )
        return Placed(lease, send)

    def ended(self, placed: Placed) -> None:
        """The shard answered or lost it."""
        self._placement.answered(placed.lease.shard, placed.send)
