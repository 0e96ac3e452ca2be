"""The device: runs one batch after the other on a thread of its own."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from facet.inference.v1 import inference_pb2
from services.common.errors import DeadlineExceededError, FacetError
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.inference.batch import Part, PieceInput, piece_output, run_pieces, unpack
from services.inference.clock import DeviceClock
from services.inference.host import LoadedModel


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

    def __init__(self, find: Callable[[ModelKey], LoadedModel]) -> None:
        self.on_start: Callable[[], None] = lambda: None
        """Called whenever a batch begins."""
        self.load = Load()
        self.clock = DeviceClock()
        self._find = find
        self._batches: asyncio.Queue[tuple[list[Part], Finished]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "device")

    @property
    def waiting(self) -> int:
        """Batches that lie ready behind the one that runs."""
        return self._batches.qsize()

    def submit(self, parts: list[Part], finished: "Finished") -> None:
        """Queue the parts of one grant; `finished` is called when all are answered.

        It gets what was run, or None when there was nothing to run.
        """
        self._batches.put_nowait((parts, finished))

    async def run(self) -> None:
        """Run batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            parts, finished = await self._batches.get()
            work = self._unpack([part for part in parts if part.wanted])
            ran = None
            if work.model is not None and work.pieces:
                self.clock.started(work.model, work.images, time.monotonic())
                self.on_start()
                await loop.run_in_executor(self._thread, work.execute)
                ran = Ran(work.images, work.device_us / 1e6)
                self.clock.ended(ran, time.monotonic())
                self._count(work)
            work.answer()
            for part in parts:
                if not part.answer.done():
                    part.answer.set_exception(
                        DeadlineExceededError("the deadline passed before the batch ran")
                    )
            finished(ran)

    def close(self) -> None:
        """Stop the thread once the batch that it runs has ended."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _unpack(self, parts: list[Part]) -> "_Work":
        """Line up what can run; parts that cannot get their error at once."""
        work = _Work()
        for part in parts:
            try:
                model = self._find(ModelKey.from_message(part.request.model))
                pieces = unpack(part.request, model.version.manifest.input, part.attachments)
            except FacetError as error:
                part.answer.set_exception(error)
                continue
            work.add(part, model, pieces)
        return work

    def _count(self, work: "_Work") -> None:
        self.load.completed_batches += 1
        self.load.completed_images += work.images
        self.load.device_us += work.device_us
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
        self._parts: list[tuple[Part, range]] = []
        self._started = time.monotonic()
        self._outcomes: dict[int, inference_pb2.PieceOutput] = {}

    def add(self, part: Part, model: LoadedModel, pieces: list[PieceInput]) -> None:
        """Add a part; all parts of a grant are for one model."""
        self.model = model
        first = len(self.pieces)
        self.pieces += pieces
        self._parts.append((part, range(first, len(self.pieces))))
        self.images += part.images

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

    def wasted_images(self) -> Counter[str]:
        """Return how many images nobody waits for any more, by reason."""
        wasted: Counter[str] = Counter()
        for part, _ in self._parts:
            reason = part.unwanted_because
            if reason is not None and part.images:
                wasted[reason] += part.images
        return wasted

    def answer(self) -> None:
        """Give every part that still waits its outputs."""
        for part, places in self._parts:
            if not part.answer.done():
                part.answer.set_result(
                    inference_pb2.InferResponse(
                        outputs=[self._outcomes[place] for place in places],
                        batch_size=self.images,
                        queue_us=int((self._started - part.received) * 1e6),
                        device_us=self.device_us,
                    )
                )
