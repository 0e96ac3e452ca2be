"""What passes between the steps of the pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import tensor_pb2
from gateway.pixels import Pixels
from services.common.errors import FacetError

DEFAULT_TOP_K = 5


class Options(NamedTuple):
    """What the caller wants of the answer."""

    top_k: int = DEFAULT_TOP_K
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pictures of one request after preprocessing."""

    count: int
    """Pictures in the request."""
    positions: Sequence[int]
    """Place in the request of each picture that can be recognised."""
    pixels: Sequence[Pixels]
    """uint8, height x width x channels, of the picture at each of `positions`."""
    errors: Mapping[int, FacetError] = field(default_factory=dict)
    """Place in the request → why that picture cannot be recognised."""


class Output(NamedTuple):
    """What one shard made of one piece."""

    positions: Sequence[int]
    """Place in the request of each row."""
    scores: tensor_pb2.Tensor | None
    """float32 [len(positions), classes]; None where the model failed."""
    error: FacetError | None
    """Why the model failed on this piece."""
    shard: str
    batch_size: int
    queue_us: int
    device_us: int
    attempts: int
    candidates: Sequence[scheduler_pb2.Candidate] = ()
    """The best three shards when the piece was leased."""


def image_errors(prepared: Prepared, outputs: Sequence[Output]) -> dict[int, FacetError]:
    """Return why pictures have no scores: place in the request → error."""
    errors = dict(prepared.errors)
    for output in outputs:
        if output.error is not None:
            errors.update(dict.fromkeys(output.positions, output.error))
    return errors
