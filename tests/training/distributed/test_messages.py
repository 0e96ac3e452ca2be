"""What members tell arrives as it was."""

from hypothesis import given
from hypothesis import strategies as st

from facet.training.v1 import training_pb2
from services.training.distributed.messages import (
    epoch_record,
    step_report,
    to_epoch_ended,
    to_stepped,
)
from services.training.history import EpochRecord
from services.training.progress import StepReport
from services.training.schedule import Schedule

COUNTS = st.integers(1, 2**31 - 1)
FIGURES = st.floats(0, 1e6)


@given(COUNTS, COUNTS, FIGURES, FIGURES, FIGURES, FIGURES)
def test_steps(
    epoch: int, step: int, loss: float, accuracy: float, speed: float, rate: float
) -> None:
    schedule = Schedule(images=1000, batch=50, epochs=7, seed=0)
    told = StepReport(
        epoch=epoch,
        epochs=schedule.epochs,
        step=step,
        steps=schedule.steps,
        loss=loss,
        accuracy=accuracy,
        images_per_s=speed,
        learning_rate=rate,
    )
    sent = to_stepped(told).SerializeToString()
    assert step_report(training_pb2.Stepped.FromString(sent), schedule) == told


@given(COUNTS, FIGURES, FIGURES, FIGURES, FIGURES)
def test_epochs(epoch: int, loss: float, accuracy: float, seconds: float, speed: float) -> None:
    told = EpochRecord(
        epoch=epoch, loss=loss, accuracy=accuracy, seconds=seconds, images_per_s=speed
    )
    message = to_epoch_ended(told, "ab12")
    assert message.weights_sha256 == "ab12"
    sent = message.SerializeToString()
    assert epoch_record(training_pb2.EpochEnded.FromString(sent)) == told
