"""What a user chooses about a training."""

from dataclasses import asdict, dataclass

from services.common.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Hyperparameters, all recorded in the version."""

    architecture: str = "cnn"
    """One of the networks by name, or a user's own as `module:function`."""
    epochs: int = 20
    """How many times every training picture is seen."""
    batch_size: int = 32
    """Pictures a step."""
    learning_rate: float = 1e-2
    """Of Adam, at the start."""
    seed: int = 0
    """Of the first weights and of the order of pictures."""
    shift: float = 0.07
    """How far training pictures are moved at random, as a share of their sides; 0: not at all."""
    rotation: float = 0.0
    """How far they are turned at random, degrees either way; 0: not at all."""
    zoom: float = 0.0
    """How much larger or smaller they are made at random, as a share; 0: not at all."""
    flip: bool = False
    """Whether every other one is mirrored, left to right."""
    contrast: float = 0.0
    """How much their contrast is changed at random, as a share; 0: not at all."""

    def __post_init__(self) -> None:
        """Raise InvalidRequestError for numbers that make no sense."""
        if self.epochs < 1 or self.batch_size < 1:
            raise InvalidRequestError("training needs at least one epoch and one picture a batch")
        if not 0 < self.learning_rate < float("inf"):
            raise InvalidRequestError(
                f"the learning rate must be above 0, not {self.learning_rate}"
            )
        if not 0 <= self.seed < 2**32:
            raise InvalidRequestError(f"the seed must be 0 to 2^32 - 1, not {self.seed}")
        for name in ("shift", "zoom", "contrast"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise InvalidRequestError(f"the {name} must be 0 up to 1, not {share}")
        if not 0 <= self.rotation <= 180:
            raise InvalidRequestError(f"the rotation must be 0 to 180 degrees, not {self.rotation}")

    def to_record(self) -> dict[str, str | int | float | bool]:
        """Return the settings as plain JSON values."""
        return asdict(self)
