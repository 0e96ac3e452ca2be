"""What a cluster makes of a version: waiting until it serves it, and why it does not."""

import asyncio
from typing import Final

import grpc

from facet.client.connection import Gateway, domain_errors
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from services.common.errors import ModelRefusedError
from services.common.models.key import ModelKey

CALL_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0


async def wait_served(gateway: Gateway, channel: grpc.aio.Channel, key: ModelKey) -> None:
    """Return once a version answers to its model's bare name; never gives up by itself.

    Asks again and again, since a promotion changes what a name means and nothing else that the
    gateway would tell of. Raises ModelRefusedError, with the reason, when every shard has refused
    the version, UnavailableError (UNREACHABLE) when no gateway answers, and whatever else the
    gateway says.
    """
    pause = FIRST_PAUSE_S
    while True:
        with domain_errors(gateway):
            if await _served(channel, key.name) == key:
                return
            shards = await _shards(channel)
        refused = _refusals(shards, key)
        if refused and len(refused) == len(shards):
            raise ModelRefusedError(f"the cluster refuses {key}: {next(iter(refused.values()))}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


async def refusals(gateway: Gateway, channel: grpc.aio.Channel, key: ModelKey) -> dict[str, str]:
    """Return which shards have refused a version, and why: instance id → reason.

    Raises UnavailableError (UNREACHABLE) when no gateway answers.
    """
    with domain_errors(gateway):
        return _refusals(await _shards(channel), key)


async def _served(channel: grpc.aio.Channel, name: str) -> ModelKey | None:
    """Return the version that answers to a name; None: there is none."""
    stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
    request = recognition_pb2.GetModelRequest(model=recognition_pb2.ModelSelector(name=name))
    try:
        response = await stub.GetModel(request, timeout=CALL_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    return ModelKey.from_message(response.model.model)


async def _shards(channel: grpc.aio.Channel) -> list[cluster_pb2.Instance]:
    stub = cluster_pb2_grpc.ClusterServiceStub(channel)
    response = await stub.GetCluster(cluster_pb2.GetClusterRequest(), timeout=CALL_S)
    return [each for each in response.cluster.instances if each.service == "inference"]


def _refusals(shards: list[cluster_pb2.Instance], key: ModelKey) -> dict[str, str]:
    return {
        shard.id: refused.reason
        for shard in shards
        for refused in shard.refused
        if ModelKey.from_message(refused.model) == key
    }
