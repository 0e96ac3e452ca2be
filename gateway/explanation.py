"""What a caller who asks for it is told of the shards' work."""

from collections.abc import Iterable

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from gateway.requests import Output


def executions(
    outputs: Iterable[Output], model: model_pb2.ModelVersion
) -> list[recognition_pb2.Execution]:
    """Return where and how each piece of a request ran."""
    return [
        recognition_pb2.Execution(
            shard=output.shard,
            images=output.positions,
            batch_size=output.batch_size,
            queue_us=output.queue_us,
            device_us=output.device_us,
            attempts=output.attempts,
            candidates=[
                recognition_pb2.Candidate(shard=each.shard, finish_us=each.finish_us)
                for each in output.candidates
            ],
            model=model,
        )
        for output in outputs
    ]
