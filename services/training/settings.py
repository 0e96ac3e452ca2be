"""What a user chooses about a training."""

from dataclasses import asdict, dataclass

from services.common.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Hyperparameters, all recorded in the version."""

    architecture: str = "cnn"
    epochs: int = 20
    """How many times every training picture is seen."""
    batch_size: int = 32
    """Pictures a step."""
    learning_rate: float = 1e-2
    """Of Adam, at the start."""
    shift: float = 0.07
    """How far training pictures are moved at random, as a share of their sides; 0: not at all."""
    seed: int = 0
    """Of the first weights and of the order of pictures."""

    def __post_init__(self) -> None:
        """Raise InvalidRequestError for numbers that make no sense."""
        if self.epochs < 1 or self.batch_size < 1:
            raise InvalidRequestError("training needs at least one epoch and one picture a batch")
        if not 0 < self.learning_rate < float("inf"):
            raise InvalidRequestError(
                f"the learning rate must be above 0, not {self.learning_rate}"
            )
        if not 0 <= self.shift < 1:
            raise InvalidRequestError(f"the shift must be 0 up to 1, not {self.shift}")
        if not 0 <= self.seed < 2**32:
            raise InvalidRequestError(f"the seed must be 0 to 2^32 - 1, not {self.seed}")

    def to_record(self) -> dict[str, str | int | float]:
        """Return the settings as plain JSON values."""
        return asdict(self)
