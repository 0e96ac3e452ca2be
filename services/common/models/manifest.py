"""`manifest.json`: what a model version is, as people and programs read it."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from facet.type.v1 import model_pb2
from services.common.errors import FacetError, InvalidRequestError, ModelRefusedError
from services.common.models.artefacts import Artefact, Record, StoredFile
from services.common.models.ensemble import Ensemble
from services.common.models.input_spec import InputSpec
from services.common.models.key import ModelKey
from services.common.models.normalisation import Normalisation

MANIFEST_FILE: Final = "manifest.json"
FORMAT_VERSION: Final = 1

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def check_name(name: str) -> str:
    """Return the name; InvalidRequestError when no model may be called so."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"a model's name must be 1 to 64 of a-z, 0-9, '_', '.' and '-', and begin with a "
            f"letter or digit: not {name!r}"
        )
    return name


class Outputs(Record):
    """What the model answers: float32 [images, classes]."""

    classes: Annotated[int, Field(ge=1)]
    activation: Literal["softmax", "sigmoid", "linear"]
    """What the scores were seen to be: shares that add up to 1, values of 0 to 1, or anything."""


class GoldenFile(StoredFile):
    """A few inputs and the scores that every engine must give for them."""

    examples: Annotated[int, Field(ge=1)]
    tolerance: Annotated[float, Field(gt=0)]
    """The largest difference of a score that is still right."""


class VersionContent(Record):
    """All of a version but its name and number, which it gets when it is published."""

    source: str
    """Where it came from, for people: a file's name, or what was trained on what."""
    input: InputSpec
    """Of an ensemble: its first member's."""
    preprocessing: Normalisation
    """Fused into the graph of every artefact; here for people. Of an ensemble: its first
    member's."""
    outputs: Outputs
    artefacts: tuple[Artefact, ...] = ()
    """At least one, but none of an ensemble."""
    golden: GoldenFile | None = None
    """None of an ensemble: its members have theirs."""
    ensemble: Ensemble | None = None
    """The versions that answer in this one's place."""
    training: Mapping[str, str | int | float | bool] | None = None
    """Hyperparameters; None for a model that was trained elsewhere."""
    metrics: Mapping[str, int | float] = Field(default_factory=dict)
    reports: tuple[StoredFile, ...] = ()
    """Files for people: pictures of the training, measurements."""
    labels: tuple[Annotated[str, Field(min_length=1)], ...]
    """Label of each output index."""

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Everything in the version's folder beside the manifest."""
        golden = () if self.golden is None else (self.golden,)
        return (*self.artefacts, *golden, *self.reports)

    @model_serializer(mode="wrap")
    def _without_no_ensemble(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write no field that a version which is no ensemble never had: digests stay the same."""
        record: dict[str, Any] = serialize(self)
        if self.ensemble is None:
            record.pop("ensemble", None)
        return record

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.ensemble is None and not (self.artefacts and self.golden):
            raise ValueError("a version has artefacts and golden examples, or is an ensemble")
        if self.ensemble is not None and (self.artefacts or self.golden):
            raise ValueError("an ensemble has neither artefacts nor golden examples of its own")
        if len(self.labels) != self.outputs.classes:
            raise ValueError(f"{len(self.labels)} labels for {self.outputs.classes} classes")
        files = [stored.file for stored in self.files]
        formats = [artefact.format for artefact in self.artefacts]
        if len(set(files)) < len(files) or MANIFEST_FILE in files:
            raise ValueError("two files have one name")
        if len(set(formats)) < len(formats):
            raise ValueError("two artefacts have one format")
        self.preprocessing.check_channels(self.input.channels)
        return self


class Manifest(VersionContent):
    """One immutable version of a model."""

    format_version: Literal[1]
    name: str
    version: Annotated[int, Field(ge=1)]
    created: AwareDatetime
    digest: str
    """sha256 of the canonical JSON of all other fields, hexadecimal."""

    @property
    def key(self) -> ModelKey:
        """Name and version."""
        return ModelKey(self.name, self.version)

    @classmethod
    def of(cls, content: VersionContent, name: str, version: int, created: datetime) -> Self:
        """Return the manifest of a content that is being published."""
        fields: dict[str, Any] = {key: getattr(content, key) for key in VersionContent.model_fields}
        unsigned = cls(
            format_version=FORMAT_VERSION,
            name=check_name(name),
            version=version,
            created=created.astimezone(UTC),
            digest="",
            **fields,
        )
        return unsigned.model_copy(update={"digest": _digest(unsigned.model_dump(mode="json"))})

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Self:
        """Return the manifest of a file's content.

        Raises ModelRefusedError, naming `where` it lies, for anything but a whole and unaltered
        manifest of a format version that is known here.
        """
        try:
            record = json.loads(text)
            if not isinstance(record, dict):
                raise ModelRefusedError(f"{where} is not a manifest")
            known = record.get("format_version")
            if known != FORMAT_VERSION:
                raise ModelRefusedError(
                    f"{where} has format version {known}; this Facet reads {FORMAT_VERSION}"
                )
            if record.get("digest") != _digest(record):
                raise ModelRefusedError(f"{where} was altered: its digest does not fit")
            manifest = cls.model_validate_json(text)
            check_name(manifest.name)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "content"
            raise ModelRefusedError(f"{where} is wrong: {place}: {first['msg']}") from error
        except InvalidRequestError as error:
            raise ModelRefusedError(f"{where} is wrong: {error.message}") from error
        except FacetError:
            raise
        except ValueError as error:
            raise ModelRefusedError(f"{where} is torn: {error}") from error
        return manifest

    def to_json(self) -> bytes:
        """Return the content of `manifest.json`."""
        record = self.model_dump(mode="json")
        head = ("format_version", "name", "version", "created", "digest")
        ordered = {key: record.pop(key) for key in head} | record
        return (json.dumps(ordered, indent=2, ensure_ascii=False) + "\n").encode()

    def artefact(self, file_format: str) -> Artefact | None:
        """Return the artefact of a format, if the version has one."""
        return next((item for item in self.artefacts if item.format == file_format), None)

    def to_descriptor(self, *, max_batch: int, engine: str) -> model_pb2.ModelDescriptor:
        """Return what other services need to know of this version, loaded by an engine."""
        return model_pb2.ModelDescriptor(
            model=model_pb2.ModelVersion(name=self.name, version=self.version),
            input=self.input.to_message(),
            labels=self.labels,
            digest=self.digest,
            max_batch=max_batch,
            engine=engine,
            ensemble=None if self.ensemble is None else self.ensemble.to_message(),
        )


def _digest(record: Mapping[str, Any]) -> str:
    unsigned = {key: value for key, value in record.items() if key != "digest"}
    canonical = json.dumps(
        unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
