"""What a member tells of its training, as messages and back."""

from facet.training.v1 import training_pb2
from services.training.history import EpochRecord
from services.training.progress import StepReport
from services.training.schedule import Schedule


def to_stepped(report: StepReport) -> training_pb2.Stepped:
    """Return the message; `step_report` is its inverse."""
    return training_pb2.Stepped(
        epoch=report.epoch,
        step=report.step,
        loss=report.loss,
        accuracy=report.accuracy,
        learning_rate=report.learning_rate,
        images_per_s=report.images_per_s,
    )


def step_report(stepped: training_pb2.Stepped, schedule: Schedule) -> StepReport:
    """Return what was told; the schedule has what all know."""
    return StepReport(
        epoch=stepped.epoch,
        epochs=schedule.epochs,
        step=stepped.step,
        steps=schedule.steps,
        loss=stepped.loss,
        accuracy=stepped.accuracy,
        images_per_s=stepped.images_per_s,
        learning_rate=stepped.learning_rate,
    )


def to_epoch_ended(record: EpochRecord, weights_sha256: str) -> training_pb2.EpochEnded:
    """Return the message; `epoch_record` is its inverse. `weights_sha256`: Learner.digest."""
    return training_pb2.EpochEnded(
        epoch=record.epoch,
        loss=record.loss,
        accuracy=record.accuracy,
        seconds=record.seconds,
        images_per_s=record.images_per_s,
        weights_sha256=weights_sha256,
    )


def epoch_record(ended: training_pb2.EpochEnded) -> EpochRecord:
    """Return what was told of an epoch."""
    return EpochRecord(
        epoch=ended.epoch,
        loss=ended.loss,
        accuracy=ended.accuracy,
        seconds=ended.seconds,
        images_per_s=ended.images_per_s,
    )
