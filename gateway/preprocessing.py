"""The first step: encoded pictures → pixels, by whichever preprocessing instance is free."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import structlog

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from facet.type.v1 import model_pb2, request_pb2
from gateway.coalescer import Coalescer
from gateway.gate import Gate
from gateway.pixels import Loan, PixelMemory, Pixels, picture_bytes
from gateway.requests import Prepared
from services.common.deadline import Deadline
from services.common.errors import (
    DeadlineExceededError,
    DrainingError,
    FacetError,
    ImageError,
    InternalError,
    LinkLostError,
    UnavailableError,
)
from services.common.http2.channel import Channel
from services.common.http2.tls import ClientTls
from services.common.metrics.counts import Histogram
from services.common.registry import Instance
from services.common.rpc.fleet import Fleet
from services.common.rpc.links import Link
from services.common.shared_memory import NO_SHARED_MEMORY, shares_memory
from services.common.statuses import from_status
from services.common.tracing.context import of_requests
from services.common.tracing.span import CURRENT

log = structlog.get_logger(__name__)

CALLS_PER_INSTANCE: Final = 2
"""One is decoded while the next one travels."""
MAX_CALL_BYTES: Final = 512 * 1024
ANSWER_GRACE_S: Final = 5.0
"""How long after the deadline an answer about shared memory may come."""
SOLO_DEATHS: Final = 2
"""So many processes that died while they had nothing from us but one picture convict it."""

PreprocessingLink = Link[preprocessing_pb2.PrepareRequest, preprocessing_pb2.PrepareResponse]


def connect_preprocessing(
    instance: Instance, on_change: Callable[[], None], *, tls: ClientTls | None = None
) -> PreprocessingLink:
    """Return a link to a preprocessing instance."""

    def open_stream(channel: Channel) -> Any:
        return preprocessing_pb2_grpc.PreprocessingServiceStub(channel).Prepare()

    return Link(
        instance.address,
        open_stream,
        on_change,
        shares_memory=shares_memory(instance.meta),
        tls=tls,
    )


@dataclass(frozen=True, slots=True)
class _Picture:
    content: bytes
    deadline: Deadline
    context: request_pb2.RequestContext


Outcome = Pixels | FacetError


class PreprocessingClient:
    """Coalesces pictures into calls, and keeps a picture that kills its decoder from the others."""

    def __init__(self, fleet: Fleet[PreprocessingLink], memory: PixelMemory) -> None:
        self._fleet = fleet
        self._memory = memory
        self._coalescers: dict[bytes, Coalescer[_Picture, Outcome]] = {}
        self._gate = Gate()
        self.seconds = Histogram()
        """How long requests take here."""
        self.lost_calls = 0
        """Calls whose process went away."""

    async def prepare(
        self, images: Sequence[bytes], spec: model_pb2.InputSpec, deadline: Deadline
    ) -> Prepared:
        """Return the pixels of each picture, or its error.

        Raises DeadlineExceededError, and UnavailableError when no instance can be reached.
        """
        since = time.perf_counter()
        late = "the deadline passed during preprocessing"
        with CURRENT.get().begin("prepare", pictures=len(images)) as span:
            pictures = [_Picture(image, deadline, span.context) for image in images]
            outcomes = await self._coalescer(spec).submit(pictures, deadline, late)
        self.seconds.observe(time.perf_counter() - since)
        done = [
            (place, item) for place, item in enumerate(outcomes) if not isinstance(item, FacetError)
        ]
        return Prepared(
            count=len(images),
            positions=[place for place, _ in done],
            pixels=[pixels for _, pixels in done],
            errors={
                place: outcome
                for place, outcome in enumerate(outcomes)
                if isinstance(outcome, FacetError)
            },
        )

    def _coalescer(self, spec: model_pb2.InputSpec) -> Coalescer[_Picture, Outcome]:
        key = spec.SerializeToString(deterministic=True)
        if key not in self._coalescers:

            async def send(pictures: list[_Picture]) -> Sequence[Outcome]:
                return await self._send(pictures, spec)

            self._coalescers[key] = Coalescer(
                send,
                slots=lambda: CALLS_PER_INSTANCE * len(self._fleet.links),
                weigh=lambda picture: len(picture.content),
                max_weight=MAX_CALL_BYTES,
            )
        return self._coalescers[key]

    async def _send(self, pictures: list[_Picture], spec: model_pb2.InputSpec) -> Sequence[Outcome]:
        while True:
            try:
                async with self._gate.together():
                    return await self._call(pictures, spec)
            except DrainingError:
                continue  # it took nothing in; the next instance does
            except LinkLostError as error:
                self.lost_calls += 1
                log.warning(
                    "preprocessing lost",
                    pictures=len(pictures),
                    error=error.message,
                    **of_requests(picture.context for picture in pictures),
                )
                # One of them may have killed the process. Alone, the innocent pass.
                return [await self._call_alone(picture, spec) for picture in pictures]

    async def _call_alone(self, picture: _Picture, spec: model_pb2.InputSpec) -> Outcome:
        deaths = 0
        async with self._gate.alone():
            while deaths < SOLO_DEATHS:
                try:
                    picture.deadline.check("the picture was tried alone")
                    return (await self._call([picture], spec))[0]
                except DrainingError:
                    continue
                except LinkLostError as error:
                    deaths += 1
                    self.lost_calls += 1
                    log.warning(
                        "preprocessing lost with one picture",
                        error=error.message,
                        **of_requests([picture.context]),
                    )
                except (DeadlineExceededError, UnavailableError) as error:
                    return error
        return ImageError(
            "the decoder crashed on this picture, more than once", reason="DECODER_CRASHED"
        )

    async def _call(self, pictures: list[_Picture], spec: model_pb2.InputSpec) -> Sequence[Outcome]:
        deadline = max(picture.deadline for picture in pictures)
        _, link = await self._fleet.pick(deadline)
        contents = [picture.content for picture in pictures]
        request = preprocessing_pb2.PrepareRequest(timeout_ms=deadline.remaining_ms, input=spec)
        for context, theirs in groupby(pictures, attrgetter("context")):
            request.requests.add(context=context, pictures=len(list(theirs)))
        nbytes = picture_bytes(spec)
        loan = self._memory.lend(contents, nbytes) if link.shares_memory else None
        if loan is None:
            request.images.extend(contents)
            return _outcomes(await link.call(request, deadline), None, len(pictures))
        loan.describe(request)
        response = await _call_with_loan(link, request, loan, deadline)
        try:
            return _outcomes(response, loan, len(pictures))
        finally:
            loan.end()


async def _call_with_loan(
    link: PreprocessingLink,
    request: preprocessing_pb2.PrepareRequest,
    loan: Loan,
    deadline: Deadline,
) -> preprocessing_pb2.PrepareResponse:
    """Return the response; when there is none, the loan has ended."""
    try:
        # The instance itself keeps the deadline; only its answer tells that it writes no more.
        return await link.call(request, Deadline(deadline.at + ANSWER_GRACE_S))
    except LinkLostError:
        loan.end(out_of_reach=True)
        raise
    except UnavailableError as error:  # it answered, or read nothing
        loan.end()
        if error.reason == NO_SHARED_MEMORY:
            raise DrainingError(error.message) from error
        raise
    except BaseException:
        loan.end(out_of_reach=True)
        raise


def _outcomes(
    response: preprocessing_pb2.PrepareResponse, loan: Loan | None, pictures: int
) -> list[Outcome]:
    if len(response.images) != pictures:
        raise InternalError("preprocessing answered something else than it was asked")
    return [_outcome(image, loan, place) for place, image in enumerate(response.images)]


def _outcome(image: preprocessing_pb2.PreparedImage, loan: Loan | None, place: int) -> Outcome:
    if image.HasField("error"):
        return from_status(image.error)
    if loan is not None and image.stored:
        return loan.take(place)
    return image.pixels
