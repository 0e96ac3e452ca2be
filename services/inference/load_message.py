"""A shard's load as it tells it: work in hand, and what its batches take."""

from facet.cluster.v1 import cluster_pb2
from facet.type.v1 import model_pb2
from services.common.models.key import ModelKey
from services.inference.clock import DeviceClock
from services.inference.device import Device
from services.inference.host import ModelHost


def load_message(device: Device, host: ModelHost) -> cluster_pb2.ShardLoad:
    """Return the load at this moment, with all versions that are loaded."""
    load = device.load
    return cluster_pb2.ShardLoad(
        outstanding_images=load.outstanding_images,
        completed_images=load.completed_images,
        completed_batches=load.completed_batches,
        device_us=load.device_us,
        wasted_images=load.wasted_images,
        wasted_us=load.wasted_us,
        models=[_model(device.clock, descriptor) for descriptor in host.descriptors],
    )


def _model(clock: DeviceClock, descriptor: model_pb2.ModelDescriptor) -> cluster_pb2.ModelLoad:
    known = clock.known(ModelKey.from_message(descriptor.model), descriptor)
    fit, slowness, predictions = known.costs.fit, known.costs.slowness, known.predictions
    return cluster_pb2.ModelLoad(
        model=descriptor.model,
        max_batch=descriptor.max_batch,
        batch_us=fit.a * 1e6,
        image_us=fit.c * 1e6,
        slowness=slowness,
        completed_batches=predictions.batches,
        completed_images=predictions.images,
        device_us=round(predictions.seconds * 1e6),
        predicted_us=round(predictions.predicted_s * 1e6),
        error=predictions.error,
        bias=predictions.bias,
    )
