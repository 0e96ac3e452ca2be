"""The device: runs one batch after the other on a thread of its own."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from facet.inference.v1 import inference_pb2
from services.common.errors import DeadlineExceededError, FacetError
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.common.tracing.context import of_requests
from services.common.tracing.trail import SILENT, Batch, Hop, Trail
from services.inference.batch import Part, PieceInput, piece_output, run_pieces, unpack
from services.inference.batch_log import BatchLog
from services.inference.clock import DeviceClock
from services.inference.loaded_model import LoadedModel
from services.inference.tally import Tally

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Load:
    """What the shard has done and has to do; see facet.cluster.v1.ShardLoad."""

    outstanding_images: int = 0
    completed_images: int = 0
    completed_batches: int = 0
    device_us: int = 0
    wasted_images: Counter[str] = field(default_factory=Counter)
    """Images that ran for nobody, by reason."""
    wasted_us: Counter[str] = field(default_factory=Counter)
    """Their share of `device_us`."""


Finished = Callable[[Ran | None], None]


class Device:
    """Runs batches in the order in which they were submitted.

    `find(key)` returns a loaded model or raises ModelNotFoundError. The answers of a batch's
    parts are set on the event loop.
    """

    def __init__(self, find: Callable[[ModelKey], LoadedModel], trail: Trail = SILENT) -> None:
        self.on_start: Callable[[], None] = lambda: None
        """Called whenever a batch begins."""
        self.load = Load()
        self.tally = Tally()
        self.clock = DeviceClock()
        self.batch_log = BatchLog()
        self._find = find
        self._trail = trail
        self._batches: deque[tuple[list[Part], Finished]] = deque()
        self._submitted = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "device")

    @property
    def waiting(self) -> int:
        """Batches that lie ready behind the one that runs."""
        return len(self._batches)

    def submit(self, parts: list[Part], finished: Finished) -> None:
        """Queue the parts of one grant; `finished` is called when all are answered.

        It gets what was run, or None when there was nothing to run.
        """
        self._batches.append((parts, finished))
        self._submitted.set()

    def drop_answered(self) -> None:
        """Let go of what waits and has no part that still waits for its answer.

        Such a batch would cost no time, but the shard asks for no other one while it is there.
        """
        done = [batch for batch in self._batches if all(part.answer.done() for part in batch[0])]
        for batch in done:
            self._batches.remove(batch)
        for _, finished in done:
            finished(None)

    async def run(self) -> None:
        """Run batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._batches:
                self._submitted.clear()
                await self._submitted.wait()
            parts, finished = self._batches.popleft()
            work = self._unpack([part for part in parts if part.wanted])
            ran = None
            if work.model is not None and work.pieces:
                self.clock.started(work.model, work.images, time.monotonic())
                self.on_start()
                await loop.run_in_executor(self._thread, work.execute)
                ran = Ran(work.images, work.device_us / 1e6)
                self.clock.ended(ran, time.monotonic())
                self._count(work, work.model.key)
            work.answer()
            if self._trail.active and ran is not None:
                work.tell(self._trail)
            for part in parts:
                if not part.answer.done():
                    log.debug("too late for its batch", **of_requests(part.contexts))
                    part.answer.set_exception(
                        DeadlineExceededError("the deadline passed before the batch ran")
                    )
            finished(ran)

    def close(self) -> None:
        """Stop the thread once the batch that it runs has ended."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _unpack(self, parts: list[Part]) -> "_Work":
        """Line up what can run; parts that cannot get their error at once."""
        work, now = _Work(), time.monotonic()
        for part in parts:
            part.begun = True
            wanted = part.wanted_pieces(now)
            try:
                model = self._find(ModelKey.from_message(part.request.model))
                spec = model.version.manifest.input
                inputs = unpack(part.request, wanted, spec, part.attachments)
            except FacetError as error:
                part.answer.set_exception(error)
                continue
            work.add(part, model, wanted, inputs)
        return work

    def _count(self, work: "_Work", model: ModelKey) -> None:
        self.tally.ran(model, work.images, work.device_us / 1e6)
        for waited_s in work.waited_s():
            self.tally.queue_seconds.observe(waited_s)
        self.load.completed_batches += 1
        self.load.completed_images += work.images
        self.load.device_us += work.device_us
        if self.batch_log and work.model is not None:
            self.batch_log.ran(
                inference_pb2.Batch(
                    model=work.model.descriptor.model,
                    images=work.images,
                    device_us=work.device_us,
                    predicted_us=round(self.clock.predicted_s * 1e6),
                )
            )
        for reason, images in work.wasted_images().items():
            self.load.wasted_images[reason] += images
            self.load.wasted_us[reason] += work.device_us * images // work.images


class _Work:
    """One batch on its way through the device."""

    def __init__(self) -> None:
        self.pieces: list[PieceInput] = []
        self.images = 0
        self.device_us = 0
        self.model: LoadedModel | None = None
        self._parts: list[tuple[Part, list[inference_pb2.Piece], range]] = []
        self._started = time.monotonic()
        self._outcomes: dict[int, inference_pb2.PieceOutput] = {}

    def add(
        self,
        part: Part,
        model: LoadedModel,
        wanted: list[inference_pb2.Piece],
        inputs: list[PieceInput],
    ) -> None:
        """Add what is wanted of a part; all parts of a grant are for one model."""
        self.model = model
        first = len(self.pieces)
        self.pieces += inputs
        self._parts.append((part, wanted, range(first, len(self.pieces))))
        self.images += sum(piece.images for piece in wanted)

    def execute(self) -> None:
        """Run on the device's thread."""
        assert self.model is not None
        self._started = time.monotonic()
        outcomes = run_pieces(self.pieces, self.model.version.engine.run)
        self._outcomes = {
            place: piece_output(self.pieces[place].piece_id, outcome)
            for place, outcome in outcomes.items()
        }
        self.device_us = int((time.monotonic() - self._started) * 1e6)

    def waited_s(self) -> list[float]:
        """Return how long each part waited until the batch began."""
        return [self._started - part.received for part, _, _ in self._parts]

    def wasted_images(self) -> Counter[str]:
        """Return how many images nobody waits for any more, by reason."""
        wasted: Counter[str] = Counter()
        now = time.monotonic()
        for part, ran, _ in self._parts:
            part.count_wasted(wasted, ran, now)
        return wasted

    def tell(self, trail: Trail) -> None:
        """Tell of the batch, and of every request that had a part in it."""
        assert self.model is not None
        ended, grant = time.monotonic(), self._parts[0][0].request.grant_id
        hops = []
        for part, _, places in self._parts:
            for piece, place in zip(self.pieces[places.start : places.stop], places, strict=True):
                if not trail.wants(piece.context):
                    continue
                fields: dict[str, str | int] = {
                    "batch": grant,
                    "batch_images": self.images,
                    "images": len(piece.pixels),
                    "queue_us": int((self._started - part.received) * 1e6),
                    "device_us": self.device_us,
                }
                if error := self._outcomes[place].error.message:
                    fields["error"] = error
                hops.append(Hop(piece.context, part.received, ended, fields))
        if not hops:
            return
        model = str(self.model.version.manifest.key)
        fields = {"batch": grant, "model": model, "images": self.images}
        ran = Batch("batch", self._started, self._started + self.device_us / 1e6, fields)
        trail.batch("inferred", ran, hops)

    def answer(self) -> None:
        """Give every part that still waits its outputs."""
        for part, _, places in self._parts:
            if not part.answer.done():
                part.answer.set_result(
                    inference_pb2.InferResponse(
                        outputs=[self._outcomes[place] for place in places],
                        batch_size=self.images,
                        queue_us=int((self._started - part.received) * 1e6),
                        device_us=self.device_us,
                    )
                )
