"""What somebody chose about a training, by options of `facet train` or in a TOML file.

The file has the names of the options:

    model = "resnet"
    epochs = 30
    flip = true
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self, cast

from services.common.errors import InvalidRequestError
from services.training.data.loading import DataOptions
from services.training.recommended import recommended
from services.training.settings import TrainingSettings

MODEL: Final = "model"
"""What the file and the options call TrainingSettings.architecture."""

_NAMES: Final = {"architecture": MODEL}
_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody chose; what they left open is not in it."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of TrainingSettings."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fields of DataOptions."""

    @classmethod
    def given(cls, **options: Any) -> Self:
        """Return what was given; an option that is None was not."""
        given = {key: value for key, value in options.items() if value is not None}
        data = {each.name for each in fields(DataOptions)}
        return cls(
            {key: value for key, value in given.items() if key not in data},
            {key: value for key, value in given.items() if key in data},
        )

    def over(self, other: "Choices") -> "Choices":
        """Return these choices, and those of `other` where these leave something open."""
        return Choices({**other.settings, **self.settings}, {**other.data, **self.data})

    def settings_for(self, data: str) -> TrainingSettings:
        """Return the settings for a data set: what was chosen, and what suits it otherwise.

        Raises InvalidRequestError for numbers that make no sense.
        """
        architecture = self.settings.get("architecture", TrainingSettings().architecture)
        return replace(recommended(data, architecture), **self.settings)

    def data_options(self) -> DataOptions:
        """Return how data is found and cut."""
        return DataOptions(**self.data)


def read_config(path: Path) -> Choices:
    """Return the choices in a TOML file.

    Raises InvalidRequestError (INVALID_CONFIG), naming the file and the key, when it cannot be
    read, is no TOML, or has a key that is unknown or of the wrong type.
    """
    try:
        with path.open("rb") as file:
            record = tomllib.load(file)
    except OSError as error:
        raise _invalid(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(f"{path} is not TOML: {error}") from error
    known = {**_kinds(TrainingSettings), **_kinds(DataOptions)}
    for key, value in record.items():
        if key not in known:
            raise _invalid(f"{path}: there is no {key!r}; there is {', '.join(sorted(known))}")
        if not _is(value, known[key]):
            raise _invalid(f"{path}: {key} must be {_KINDS[known[key]]}, not {value!r}")
    own_names = {shown: own for own, shown in _NAMES.items()}
    return Choices.given(**{own_names.get(key, key): value for key, value in record.items()})


def _kinds(record: type[TrainingSettings | DataOptions]) -> dict[str, type]:
    """Return the type of each field, by the name that users see."""
    return {_NAMES.get(field.name, field.name): cast(type, field.type) for field in fields(record)}


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    # In TOML 1 is a number too where 1.0 is one.
    return isinstance(value, (int, float) if kind is float else kind)


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="INVALID_CONFIG")
