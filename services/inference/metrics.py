"""What a shard tells Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from services.common.metrics.families import MODEL, counter, gauge, histogram
from services.common.models.key import ModelKey
from services.inference.device import Load
from services.inference.host import ModelHost
from services.inference.tally import Tally


def device_metrics(load: Load, tally: Tally) -> Iterator[Metric]:
    """Tell what was run, and for whom."""
    yield histogram(
        "facet_inference_batch_images",
        "Images of a batch, by model; the sum is what was run.",
        tally.batch_images,
        MODEL,
    )
    yield histogram(
        "facet_inference_device_seconds",
        "Time of a batch on the device, by model.",
        tally.device_seconds,
        MODEL,
    )
    yield histogram(
        "facet_inference_queue_seconds",
        "Time from the arrival of a gateway's part of a batch until the batch began.",
        tally.queue_seconds,
    )
    yield gauge(
        "facet_inference_outstanding_images",
        "Images that are here and have no answer yet.",
        load.outstanding_images,
    )
    yield counter(
        "facet_inference_wasted_images",
        "Images that ran for nobody, by reason.",
        load.wasted_images,
        ("reason",),
    )
    yield counter(
        "facet_inference_wasted_seconds",
        "Their share of the time on the device, by reason.",
        {reason: microseconds / 1e6 for reason, microseconds in load.wasted_us.items()},
        ("reason",),
    )


def model_metrics(host: ModelHost) -> Iterator[Metric]:
    """Tell which models are here, what they take, and which ones must not be served."""
    shelf = host.shelf_message()
    loaded = {ModelKey.from_message(each.model): each for each in host.descriptors}
    on_shelf = {ModelKey.from_message(each.model): each for each in shelf.models}
    yield gauge(
        "facet_inference_model_loaded",
        "1 for each model that can run here, with what runs it.",
        [((*key, each.engine), 1) for key, each in loaded.items()],
        (*MODEL, "engine"),
    )
    yield gauge(
        "facet_inference_model_memory_bytes",
        "Memory that a loaded model takes, measured or estimated.",
        [(key, each.memory_bytes) for key, each in on_shelf.items() if key in loaded],
        MODEL,
    )
    yield gauge(
        "facet_inference_model_memory_budget_bytes",
        "Memory that models may take here.",
        shelf.budget_bytes,
    )
    yield gauge(
        "facet_inference_model_load_seconds",
        "Time that it took to load and warm a model when it was last loaded.",
        [(key, each.load_us / 1e6) for key, each in on_shelf.items() if each.load_us],
        MODEL,
    )
    yield counter(
        "facet_inference_model_loads",
        "Attempts to load a model, by outcome: loaded or refused.",
        host.loads,
        ("outcome",),
    )
    yield gauge(
        "facet_inference_model_refused",
        "1 for each model that this shard refuses to serve; its log says why.",
        [(key, 1) for key in host.refused],
        MODEL,
    )
