"""What the scheduling core takes in and gives out: values without behaviour."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from facet.type.v1 import request_pb2
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran


class PieceKey(NamedTuple):
    """A piece, by the dispatcher that holds its tensor and that dispatcher's number for it."""

    dispatcher: str
    piece_id: int


class Promise(NamedTuple):
    """When a request was admitted, and what it was predicted to take, uncorrected."""

    since: float
    predicted_s: float


@dataclass(slots=True, eq=False)
class Piece:
    """Images of one request that stay together."""

    key: PieceKey
    model: ModelKey
    images: int
    deadline: float
    """Seconds on the scheduler's clock; not granted from then on."""
    tenant: str = ""
    """Who is charged for it; the queue is fair between tenants."""
    explain: bool = False
    """Its grant is to name the best shards: to look for them costs a tenth of a grant."""
    arrival: int = 0
    """Its place in the order of arrival, set by the core; kept when it goes back to the queue."""
    queued: bool = False
    """Set by the queue."""
    grants: tuple[str, ...] = ()
    """The grants that hold a lease on it: two while it is hedged."""
    promise: Promise | None = None
    """What its request was predicted to take; the last piece of a request has it."""
    avoid: frozenset[str] = frozenset()
    """Shards that a lease of this piece came to nothing on."""
    since: float = 0.0
    """When it came, in seconds on the scheduler's clock."""
    context: request_pb2.RequestContext | None = None
    """Whose it is, as its caller knows it."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How a shard serves one model version."""

    max_batch: int
    """Images."""
    measured: tuple[Ran, ...] = ()
    """What warming up showed, one entry or more a batch size; none: a guess stands in."""


class Candidate(NamedTuple):
    """A shard that was looked at for a grant."""

    shard: str
    finish_in_s: float
    """Predicted seconds from the decision until it had run the grant's images."""


class Grant(NamedTuple):
    """Pieces that one shard is to run as one batch."""

    grant_id: str
    shard: str
    model: ModelKey
    pieces: tuple[PieceKey, ...]
    images: int
    expires: float
    """Seconds on the scheduler's clock: from then on the pieces are leased again."""
    finish: float
    """Predicted end of the batch, seconds on the scheduler's clock."""
    parked_s: float
    """How long the shard's pull waited for work: no part of the shard's lead."""
    hedge: bool
    """The pieces are leased to an overdue shard as well; the first answer counts."""
    best: tuple[Candidate, ...]
    """Why this shard: the best three that serve the model, where a piece is to be explained. The
    granted one may be missing when better ones are busy but would be full before the queue is
    empty."""


class Why(Enum):
    """Why a request is refused."""

    OVERLOADED = auto()
    MODEL_LOADING = auto()
    """No shard has the model; one loads it now, which takes too long for this request."""
    MODEL_TOO_LARGE = auto()
    """No shard has the memory for the model."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that could not be answered in time."""

    predicted_s: float
    """When it would have been answered."""
    allowed_s: float
    """The share of its time that the prediction may use up."""
    retry_after_s: float
    why: Why = Why.OVERLOADED
