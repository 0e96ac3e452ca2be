"""One member of a training: `python -m services.training.distributed.member`.

A process takes part in one cluster of tf.distribute in its life: its worker starts one for each
training. It reads a Start message from its standard input, and writes what happens as messages to
its standard output. It ends when its standard input does, so that it never outlives its worker.
"""

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from facet.training.v1 import training_pb2
from services.common.errors import FacetError, InternalError
from services.common.models.spared_imports import TRIED, spared
from services.common.statuses import to_status
from services.training.distributed.framing import read_frame, to_frame
from services.training.distributed.messages import to_epoch_ended, to_stepped
from services.training.history import EpochRecord
from services.training.jobs.checkpoints import Checkpoint
from services.training.jobs.job import Job
from services.training.loop import Position, run_loop
from services.training.progress import StepReport

if TYPE_CHECKING:
    from services.training.learner import Learner
    from services.training.trainer import Saver

HEARTBEAT_S: Final = 1.0
THREADS_VARIABLE: Final = "FACET_MEMBER_THREADS"
"""CPU threads of the member; 0: as many as TensorFlow likes."""


class Voice:
    """Tells the worker, from any thread, and shows once a second that the process lives."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.ready = False
        """The member takes part in the training."""

    def tell(self, **event: Any) -> None:
        """Write one event; the process ends where nobody listens."""
        frame = to_frame(training_pb2.RunMemberResponse(**event))
        with self._lock:
            try:
                self._pipe.write(frame)
                self._pipe.flush()
            except OSError:
                os._exit(1)

    def live(self) -> None:
        """Show it again and again."""
        over = threading.Event()
        while not over.wait(HEARTBEAT_S):
            self.tell(alive=training_pb2.Alive(ready=self.ready))


class Reporter:
    """A LoopListener of a member: it tells, and the first one writes checkpoints."""

    def __init__(
        self, voice: Voice, learner: "Learner", saver: "Saver | None", report_s: float
    ) -> None:
        """`saver`: None of all but the first."""
        self._voice = voice
        self._learner = learner
        self._saver = saver
        self._report_s = report_s
        self._told = 0.0

    def stepped(self, report: StepReport, position: Position) -> None:
        """See LoopListener."""
        self._voice.ready = True
        if self._saver is None:
            return
        if name := self._saver.within_epoch(position, report.steps):
            self._voice.tell(checkpoint_written=training_pb2.CheckpointWritten(name=name))
        if time.monotonic() - self._told >= self._report_s or report.step == report.steps:
            self._told = time.monotonic()
            self._voice.tell(stepped=to_stepped(report))

    def epoch_ended(self, record: EpochRecord, position: Position) -> None:
        """See LoopListener."""
        if self._saver is not None:
            written = training_pb2.CheckpointWritten(
                name=self._saver.save(position), epoch=record.epoch
            )
            self._voice.tell(checkpoint_written=written)
        self._voice.tell(epoch_ended=to_epoch_ended(record, self._learner.digest()))


def run_member(start: training_pb2.Start, voice: Voice) -> None:
    """Take part in a training from a checkpoint to its end."""
    # Read by TensorFlow when the strategy is made.
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": list(start.members)},
            "task": {"type": "worker", "index": start.index},
        }
    )
    with spared(*TRIED):
        import tensorflow as tf

    from services.training import trainer

    if threads := int(os.environ.get(THREADS_VARIABLE, "0")):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    job = Job.at(start.job_url)
    record = job.record()
    learner = trainer.make_learner(record, trainer.Network(record), strategy)
    position = trainer.restored(learner, _checkpoint(job, start.checkpoint))
    saver = None
    if start.index == 0:
        saver = trainer.Saver(
            job.checkpoints,
            learner,
            every_steps=start.checkpoint_steps,
            every_s=start.checkpoint_ms / 1000,
        )
    reporter = Reporter(voice, learner, saver, start.report_ms / 1000)
    with job.pictures() as pictures:
        run_loop(
            learner,
            pictures,
            record.schedule,
            reporter,
            start=position,
            worker=start.index,
            workers=len(start.members),
        )


def _checkpoint(job: Job, name: str) -> Checkpoint | None:
    """Return the named checkpoint, which must be there; None where none is named."""
    if not name:
        return None
    checkpoint = job.checkpoints.load(name)
    if checkpoint is None:
        raise RuntimeError(f"{job.url}/{name} is gone")
    return checkpoint


def _gist(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text}"[:500]


def main() -> None:
    """Run one member."""
    # What else writes to standard output must not come between the messages.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    start = read_frame(sys.stdin.buffer, training_pb2.Start)
    voice = Voice(pipe)
    threading.Thread(target=voice.live, daemon=True).start()
    threading.Thread(target=_end_with_worker, daemon=True).start()
    failed = None
    try:
        run_member(start, voice)
    except FacetError as error:
        failed = training_pb2.Failed(error=to_status(error))
    except Exception as error:  # TensorFlow raises many kinds when another member is lost
        failed = training_pb2.Failed(error=to_status(InternalError(_gist(error))), again=True)
    if failed is None:
        voice.tell(finished=training_pb2.Finished())
    else:
        voice.tell(failed=failed)
    # At once: TensorFlow would wait for members that are gone.
    os._exit(0)


def _end_with_worker() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
