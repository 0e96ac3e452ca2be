"""What a scheduler tells Prometheus. One that stands by has no shards and no queue."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import Metric

from services.common.metrics.families import MODEL, counter, gauge, histogram
from services.scheduler.core import Scheduler
from services.scheduler.fleet import Shard
from services.scheduler.lane import Member
from services.scheduler.tally import Tally

SHARD_MODEL = ("shard", *MODEL)


def queue_metrics(core: Scheduler) -> Iterator[Metric]:
    """Tell what waits, and how well that is foreseen."""
    yield gauge(
        "facet_scheduler_queued_images",
        "Images that wait for a lease, by model.",
        core.waiting.items(),
        MODEL,
    )
    yield counter(
        "facet_scheduler_wasted_images",
        "Images that were leased and whose result nobody takes, by reason.",
        core.wasted_images,
        ("reason",),
    )
    yield gauge(
        "facet_scheduler_prediction_factor",
        "By how much predictions of long waits are lengthened, since they proved too short.",
        core.prediction_factor,
    )


def tally_metrics(tally: Tally) -> Iterator[Metric]:
    """Tell what was done so far."""
    yield counter("facet_scheduler_admitted_requests", "Requests taken in.", tally.admitted)
    yield counter(
        "facet_scheduler_refused_requests",
        "Requests refused on arrival, by reason.",
        {why.name: count for why, count in tally.refused.items()},
        ("reason",),
    )
    yield counter("facet_scheduler_pieces", "Pieces put into the queue.", tally.pieces)
    yield counter("facet_scheduler_grants", "Batches leased to a shard.", tally.grants)
    yield counter(
        "facet_scheduler_hedges",
        "Those of the grants that lease overdue pieces a second time.",
        tally.hedges,
    )
    yield histogram("facet_scheduler_grant_images", "Images of a grant.", tally.grant_images)
    yield histogram(
        "facet_scheduler_request_time_ratio",
        "Time that a request took until its images had run / what was predicted as it came.",
        tally.request_ratio,
    )
    yield histogram(
        "facet_scheduler_batch_time_ratio",
        "Time that a batch took on its device / what was predicted for it.",
        tally.batch_ratio,
    )


def shard_metrics(shards: Mapping[str, Shard], now: float) -> Iterator[Metric]:
    """Tell what is known of each shard."""
    yield gauge("facet_scheduler_shards", "Shards that ask this scheduler for work.", len(shards))
    yield gauge(
        "facet_scheduler_shard_utilisation",
        "Share of a shard's full-batch capacity that was used lately: 1 means that more can "
        "only wait.",
        [((name,), shard.usage.share(now)) for name, shard in shards.items()],
        ("shard",),
    )
    yield gauge(
        "facet_scheduler_shard_outstanding_images",
        "Images that a shard was leased and has not finished.",
        [
            ((name,), sum(grant.images for grant in shard.grants.values()))
            for name, shard in shards.items()
        ],
        ("shard",),
    )
    yield counter(
        "facet_scheduler_full_batch_seconds",
        "Images that a shard ran times the seconds that one takes in a full batch: the rate is "
        "its utilisation by that model.",
        [
            ((name, *model), seconds)
            for name, shard in shards.items()
            for model, seconds in shard.full_batch_s.items()
        ],
        SHARD_MODEL,
    )
    yield from _costs(shards)


def _costs(shards: Mapping[str, Shard]) -> Iterator[Metric]:
    def each(value: Callable[[Member], float]) -> list[tuple[tuple[str | int, ...], float]]:
        return [
            ((name, *model), value(member))
            for name, shard in shards.items()
            for model, member in shard.members.items()
        ]

    yield gauge(
        "facet_scheduler_batch_cost_seconds",
        "a of a + c x images: what a batch takes on a shard, however many images it has.",
        each(lambda member: member.costs.fit.a),
        SHARD_MODEL,
    )
    yield gauge(
        "facet_scheduler_image_cost_seconds",
        "c of a + c x images: what each image adds.",
        each(lambda member: member.costs.fit.c),
        SHARD_MODEL,
    )
    yield gauge(
        "facet_scheduler_slowness",
        "Time that the last batches took / what their fit says: 1 for a shard as it used to be.",
        each(lambda member: member.costs.slowness),
        SHARD_MODEL,
    )
    yield gauge(
        "facet_scheduler_max_batch_images",
        "Images of the largest batch that a shard runs.",
        each(lambda member: member.serving.max_batch),
        SHARD_MODEL,
    )
