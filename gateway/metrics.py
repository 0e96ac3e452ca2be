"""What a gateway tells Prometheus."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from gateway.aggregation import AggregationClient
from gateway.cluster_view import ClusterView
from gateway.counts import RequestCounts
from gateway.dispatcher import Dispatcher
from gateway.performance import Performance
from gateway.preprocessing import PreprocessingClient
from services.common.metrics.counts import Histogram, Key
from services.common.metrics.families import MODEL, counter, gauge, histogram
from services.common.rpc.fleet import Fleet


def request_metrics(counts: RequestCounts) -> Iterator[Metric]:
    """Tell what came of the requests."""
    yield counter(
        "facet_gateway_requests",
        "Requests for recognition, by outcome: answered, refused, failed or cancelled.",
        [(("answered",), counts.answers), *counts.others.items()],
        ("outcome",),
    )
    yield counter(
        "facet_gateway_request_errors",
        "Requests that failed or were refused as a whole, by reason.",
        counts.errors,
        ("reason",),
    )
    yield counter(
        "facet_gateway_images",
        "Pictures in answered requests, those included that have an error, by model.",
        [(key, each.total) for key, each in counts.images.items()],
        MODEL,
    )
    yield histogram(
        "facet_gateway_request_images",
        "Pictures of an answered request, by model.",
        counts.images,
        MODEL,
    )
    yield histogram(
        "facet_gateway_request_seconds",
        "Time from a request to its answer, by model.",
        counts.seconds,
        MODEL,
    )


def step_metrics(
    preprocessing: PreprocessingClient, dispatcher: Dispatcher, aggregation: AggregationClient
) -> Iterator[Metric]:
    """Tell how long the steps of requests take, and what is lost on the way."""
    steps: list[tuple[Key, Histogram]] = [
        (("preprocessing",), preprocessing.seconds),
        (("inference",), dispatcher.seconds),
        (("aggregation",), aggregation.seconds),
    ]
    yield histogram(
        "facet_gateway_step_seconds",
        "Time of a request in one of its steps, waiting included.",
        steps,
        ("step",),
    )
    yield histogram(
        "facet_gateway_queue_seconds",
        "Time from the announcement of a piece until a shard is leased for it.",
        dispatcher.deliveries.queue_seconds,
    )
    yield counter(
        "facet_gateway_image_errors",
        "Pictures that could not be recognised, by reason; their requests were answered.",
        aggregation.image_errors,
        ("reason",),
    )
    yield gauge(
        "facet_gateway_images_in_hand",
        "Pictures that wait for a shard or are on one.",
        dispatcher.queued_images,
    )
    yield counter(
        "facet_gateway_calls_lost",
        "Calls that came to nothing because the process at the other end went away, by service.",
        {
            "preprocessing": preprocessing.lost_calls,
            "inference": dispatcher.deliveries.lost_calls,
            "aggregation": aggregation.lost_calls,
        },
        ("peer",),
    )
    yield gauge(
        "facet_gateway_scheduler_connected",
        "1 while a scheduler leads and hears this gateway.",
        int(dispatcher.connected),
    )


def cluster_metrics(
    view: ClusterView, fleets: Mapping[str, Fleet[Any]], performance: Performance
) -> Iterable[Metric]:
    """Tell what the gateway sees of the cluster."""
    yield gauge(
        "facet_gateway_desired_shards",
        "Shards of the present kind that the demand of the last minutes needs.",
        performance.desired_shards(),
    )
    yield gauge(
        "facet_gateway_ready", "1 while the gateway can answer something.", int(not view.unable())
    )
    yield gauge(
        "facet_gateway_registry_reachable",
        "1 while the registry answers the gateway.",
        int(view.registry_reachable),
    )
    yield gauge(
        "facet_gateway_instances",
        "Instances that the registry names, by service.",
        {name: len(fleet.links) for name, fleet in fleets.items()},
        ("peer",),
    )
    yield gauge(
        "facet_gateway_links_up",
        "Instances that the gateway can reach, by service.",
        {name: sum(link.up for link in fleet.links.values()) for name, fleet in fleets.items()},
        ("peer",),
    )
