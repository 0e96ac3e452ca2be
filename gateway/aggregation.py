"""The last step: raw outputs → results in the order of the request."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog

from facet.aggregation.v1 import aggregation_pb2, aggregation_pb2_grpc
from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2, request_pb2
from gateway.coalescer import Coalescer
from gateway.requests import Options, Output, Prepared, image_errors
from services.common.deadline import Deadline
from services.common.errors import DrainingError, FacetError, InternalError, LinkLostError
from services.common.http2.channel import Channel
from services.common.http2.tls import ClientTls
from services.common.metrics.counts import Histogram, Tally
from services.common.registry import Instance
from services.common.rpc.fleet import Fleet
from services.common.rpc.links import Link
from services.common.statuses import from_status, to_status
from services.common.tracing.context import of_requests
from services.common.tracing.span import CURRENT, NOBODY

log = structlog.get_logger(__name__)

CALLS_PER_INSTANCE: Final = 2
MAX_CALL_IMAGES: Final = 1024
MAX_ATTEMPTS: Final = 4
"""So many processes may die before what they were working on is given up."""

AggregationLink = Link[aggregation_pb2.CombineRequest, aggregation_pb2.CombineResponse]


def connect_aggregation(
    instance: Instance, on_change: Callable[[], None], *, tls: ClientTls | None = None
) -> AggregationLink:
    """Return a link to an aggregation instance."""

    def open_stream(channel: Channel) -> Any:
        return aggregation_pb2_grpc.AggregationServiceStub(channel).Combine()

    return Link(instance.address, open_stream, on_change, tls=tls)


@dataclass(slots=True, eq=False)
class _Job:
    """What is to be combined; a message only when it leaves, so that scores are copied once."""

    images: int
    top_k: int
    outputs: Sequence[Output]
    members: Sequence[tuple[float, Sequence[Output]]]
    """Of an ensemble, which has no outputs of its own."""
    model: model_pb2.ModelDescriptor
    deadline: Deadline
    context: request_pb2.RequestContext = field(default_factory=lambda: NOBODY.context)
    """Of the step that it is."""


class AggregationClient:
    """Coalesces the outputs of many requests into calls; repeats calls whose process went away."""

    def __init__(self, fleet: Fleet[AggregationLink]) -> None:
        self._fleet = fleet
        self.seconds = Histogram()
        """How long requests take here."""
        self.lost_calls = 0
        """Calls whose process went away."""
        self.image_errors = Tally("DECODER_CRASHED", "IMAGE_CORRUPT", "MODEL_FAILED")
        """Pictures that have an error instead of classes, by its reason."""
        self._known: WeakKeyDictionary[AggregationLink, set[str]] = WeakKeyDictionary()
        self._coalescer: Coalescer[_Job, aggregation_pb2.CombinedItem] = Coalescer(
            self._send,
            slots=lambda: CALLS_PER_INSTANCE * len(fleet.links),
            weigh=_weight,
            max_weight=MAX_CALL_IMAGES,
        )

    async def combine(
        self,
        prepared: Prepared,
        outputs: Sequence[Output],
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
    ) -> Sequence[recognition_pb2.ImageResult]:
        """Return one result for each picture of the request, in order.

        Raises DeadlineExceededError, and UnavailableError when no instance can be reached.
        """
        job = _Job(prepared.count, options.top_k, outputs, (), model, deadline)
        return await self._results(job, image_errors(prepared, outputs))

    async def combine_members(
        self,
        count: int,
        members: Sequence[tuple[float, Sequence[Output]]],
        errors: Mapping[int, FacetError],
        model: model_pb2.ModelDescriptor,
        options: Options,
        deadline: Deadline,
    ) -> Sequence[recognition_pb2.ImageResult]:
        """Return one result for each of `count` pictures, in order, of an ensemble.

        `members` are the weight and the outputs of each member that answered, `errors` those of
        the pictures that no member has scores for. Raises as `combine` does.
        """
        job = _Job(count, options.top_k, (), members, model, deadline)
        return await self._results(job, errors)

    async def _results(
        self, job: _Job, errors: Mapping[int, FacetError]
    ) -> Sequence[recognition_pb2.ImageResult]:
        for error in errors.values():
            self.image_errors.add(error.reason)
        if len(errors) == job.images:
            return [
                recognition_pb2.ImageResult(error=to_status(e)) for _, e in sorted(errors.items())
            ]
        since = time.perf_counter()
        late = "the deadline passed during aggregation"
        with CURRENT.get().begin("combine") as span:
            job.context = span.context
            (combined,) = await self._coalescer.submit([job], job.deadline, late)
        self.seconds.observe(time.perf_counter() - since)
        if combined.error.code:
            raise from_status(combined.error)
        for place, error in errors.items():
            combined.results[place].error.CopyFrom(to_status(error))
        return combined.results

    async def _send(self, jobs: list[_Job]) -> Sequence[aggregation_pb2.CombinedItem]:
        deadline = max(job.deadline for job in jobs)
        lost: list[str] = []
        while len(lost) < MAX_ATTEMPTS:
            name, link = await self._fleet.pick(deadline, avoid=lost)
            try:
                return await self._call(link, jobs, deadline)
            except (LinkLostError, DrainingError) as error:
                self.lost_calls += isinstance(error, LinkLostError)
                log.warning(
                    "aggregation lost",
                    aggregation=name,
                    error=error.message,
                    **of_requests(job.context for job in jobs),
                )
                lost.append(name)
        raise LinkLostError(f"aggregation went away {len(lost)} times during one call")

    async def _call(
        self, link: AggregationLink, jobs: list[_Job], deadline: Deadline
    ) -> Sequence[aggregation_pb2.CombinedItem]:
        known = self._known.setdefault(link, set())
        response = await link.call(_request(jobs, known, deadline), deadline)
        if any(item.descriptor_needed for item in response.items):
            known.clear()
            response = await link.call(_request(jobs, known, deadline), deadline)
        if len(response.items) != len(jobs) or any(i.descriptor_needed for i in response.items):
            raise InternalError("aggregation answered something else than it was asked")
        known.update(job.model.digest for job in jobs)
        return response.items


def _weight(job: _Job) -> int:
    """Return the rows of scores in the job."""
    return job.images * max(1, len(job.members))


def _request(
    jobs: list[_Job], known: set[str], deadline: Deadline
) -> aggregation_pb2.CombineRequest:
    request = aggregation_pb2.CombineRequest(timeout_ms=deadline.remaining_ms)
    for job in jobs:
        item = request.items.add(
            descriptor_digest=job.model.digest,
            images=job.images,
            top_k=job.top_k,
            context=job.context,
        )
        _add_pieces(item.pieces, job.outputs)
        if job.members:
            item.rule = job.model.ensemble.rule
        for weight, outputs in job.members:
            _add_pieces(item.members.add(weight=weight).pieces, outputs)
        if job.model.digest not in known:
            item.descriptor.CopyFrom(job.model)
    return request


def _add_pieces(pieces: Any, outputs: Sequence[Output]) -> None:
    """Add the scores to a repeated field of aggregation_pb2.PieceScores."""
    for output in outputs:
        if output.scores is not None:
            pieces.add(positions=output.positions, scores=output.scores)
