"""Clusters as a gateway would show them."""

from facet.cluster.v1 import cluster_pb2
from facet.type.v1 import model_pb2

DIGITS = model_pb2.ModelVersion(name="digits", version=1)
PHOTOGRAPHS = model_pb2.ModelVersion(name="photographs", version=12)


def cluster(shards: int, *, missing: str = "", models: int = 2) -> cluster_pb2.Cluster:
    """So many shards, each more used than the one before; one of three or more is gone."""
    shown = cluster_pb2.Cluster(registry_reachable=True, missing=[missing] if missing else [])
    shown.instances.add(
        service="gateway",
        id="gateway-1-aaaaaa",
        address="127.0.0.1:50051",
        state=cluster_pb2.INSTANCE_STATE_SERVING,
    )
    for number in range(shards):
        shown.instances.append(_shard(number, number / shards))
    performance = shown.performance
    performance.images_per_s, performance.capacity_images_per_s = 1234.0, 5678.0
    performance.headroom_images_per_s, performance.utilisation = 4444.0, 0.217
    performance.waiting_images, performance.shards, performance.desired_shards = 17, shards, 1
    for number in range(models):
        performance.models.add(
            model=model_pb2.ModelVersion(name=f"model{number}", version=1),
            shards=shards,
            images_per_s=10.0 * number,
            capacity_images_per_s=5678.0,
            headroom_images_per_s=4444.0,
            waiting_images=number,
            wait_us=1000 * number,
            refused_images_per_s=0.25 * number,
        )
    performance.requests.in_hand, performance.requests.answered = 3, 1000
    performance.requests.failed["OVERLOADED"] = 2
    return shown


def _shard(number: int, share: float) -> cluster_pb2.Instance:
    gone = number == 2
    shard = cluster_pb2.Instance(
        service="inference",
        id=f"inference-{number + 1}-{number:06x}",
        address=f"127.0.0.1:{41000 + number}",
        state=(
            cluster_pb2.INSTANCE_STATE_UNREACHABLE if gone else cluster_pb2.INSTANCE_STATE_SERVING
        ),
        models=[DIGITS, PHOTOGRAPHS],
    )
    shard.load.outstanding_images, shard.load.completed_images = number, 1000 * number
    shard.load.wasted_images["cancelled"] = number
    performance = shard.performance
    performance.images_per_s, performance.utilisation = 100.0 * number, share
    for model, part in ((DIGITS, share), (PHOTOGRAPHS, 0.0)):
        shard.load.models.add(
            model=model,
            max_batch=32,
            batch_us=412.4,
            image_us=88.0,
            slowness=1.5,
            completed_batches=10 * number if part else 0,
            error=0.08,
        )
        performance.models.add(
            model=model,
            images_per_s=100.0 * number if part else 0.0,
            utilisation=part,
            batch_images=4.25 if part else 0.0,
            predicted_to_real=0.97 if part else 0.0,
        )
    return shard
