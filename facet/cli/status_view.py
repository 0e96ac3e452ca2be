"""What `facet status` shows of a cluster: instances, the shards' models, all models together."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from facet.cli.figures import duration, percent, rate, ratio
from facet.cluster.v1 import cluster_pb2
from services.common.models.key import ModelKey

STATES = {
    cluster_pb2.INSTANCE_STATE_SERVING: Text("serving", "green"),
    cluster_pb2.INSTANCE_STATE_UNREACHABLE: Text("unreachable", "red"),
    cluster_pb2.INSTANCE_STATE_STANDBY: Text("standby"),
}


def status_view(cluster: cluster_pb2.Cluster) -> Iterator[RenderableType]:
    """Yield what there is to show, in its order; each part fits into a hundred columns."""
    yield _instances(cluster)
    if any(instance.load.models for instance in cluster.instances):
        yield ""
        yield _shards(cluster)
    if cluster.performance.models:
        yield ""
        yield _models(cluster)
    yield ""
    yield _summary(cluster.performance)


def _instances(cluster: cluster_pb2.Cluster) -> Table:
    table = Table(box=None)
    for heading in ("service", "instance", "address", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("models", overflow="fold", min_width=12)
    table.add_column("in hand", justify="right", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for instance in cluster.instances:
        is_shard = instance.HasField("load")
        table.add_row(
            instance.service,
            instance.id,
            instance.address,
            STATES.get(instance.state, ""),
            " ".join(str(ModelKey.from_message(model)) for model in instance.models),
            str(instance.load.outstanding_images) if is_shard else "",
            str(instance.load.completed_images) if is_shard else "",
        )
    return table


def _shards(cluster: cluster_pb2.Cluster) -> Table:
    """A line for each version on each shard: a batch of b images takes slow x (a + c·b)."""
    table = Table(box=None)
    table.add_column("shard", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=10)
    for heading in ("images/s", "load", "batch", "a", "c", "slow", "pred/real", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    for instance in cluster.instances:
        flows = {ModelKey.from_message(each.model): each for each in instance.performance.models}
        for model in instance.load.models:
            key = ModelKey.from_message(model.model)
            flow = flows.get(key, cluster_pb2.ShardModelPerformance())
            table.add_row(
                instance.id,
                str(key),
                rate(flow.images_per_s),
                percent(flow.utilisation),
                f"{flow.batch_images:.1f}/{model.max_batch}"
                if flow.batch_images
                else f"0/{model.max_batch}",
                duration(model.batch_us),
                duration(model.image_us),
                f"{model.slowness:.2f}",
                ratio(flow.predicted_to_real),
                f"±{percent(model.error)}" if model.completed_batches else "",
            )
    return table


def _models(cluster: cluster_pb2.Cluster) -> Table:
    table = Table(box=None)
    table.add_column("model", overflow="fold", min_width=10)
    for heading in ("shards", "images/s", "capacity", "headroom", "refused/s", "waiting", "wait"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in cluster.performance.models:
        table.add_row(
            str(ModelKey.from_message(model.model)),
            str(model.shards),
            rate(model.images_per_s),
            rate(model.capacity_images_per_s),
            rate(model.headroom_images_per_s),
            rate(model.refused_images_per_s),
            str(model.waiting_images),
            duration(model.wait_us),
        )
    return table


def _summary(performance: cluster_pb2.Performance) -> Text:
    shards = "1 shard" if performance.shards == 1 else f"{performance.shards} shards"
    text = Text(
        f"{shards}: {rate(performance.images_per_s)} of "
        f"{rate(performance.capacity_images_per_s)} images/s, load "
        f"{percent(performance.utilisation)}; the demand asks for {performance.desired_shards}."
    )
    requests = performance.requests
    text.append(
        f"\nThis gateway: {requests.in_hand} requests in hand, {requests.answered} answered, "
        f"{sum(requests.failed.values())} failed"
    )
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(requests.failed.items()))
    return text.append(f" ({reasons})." if reasons else ".")
