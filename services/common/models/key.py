"""The name of one model version."""

from typing import NamedTuple, Self

from facet.type.v1 import model_pb2


class ModelKey(NamedTuple):
    """One immutable version of a model; written NAME:VERSION."""

    name: str
    version: int

    def __str__(self) -> str:
        """NAME:VERSION"""
        return f"{self.name}:{self.version}"

    @classmethod
    def from_message(cls, message: model_pb2.ModelVersion) -> Self:
        """Return the key of a message."""
        return cls(message.name, message.version)

    def to_message(self) -> model_pb2.ModelVersion:
        """Return the key as a message."""
        return model_pb2.ModelVersion(name=self.name, version=self.version)
