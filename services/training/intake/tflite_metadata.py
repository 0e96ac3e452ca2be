"""What a .tflite file says of itself: the metadata of TensorFlow Lite's model maker.

It is a flatbuffer within the model and a zip archive behind it. The tables are read by the numbers
of their fields in metadata_schema.fbs of tensorflow/tflite-support, version 1.1.
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import flatbuffers
from flatbuffers.number_types import Float32Flags, Uint8Flags, UOffsetTFlags

NAME: Final = "TFLITE_METADATA"

_MODEL_SUBGRAPHS: Final = 3
_SUBGRAPH_INPUTS: Final = 2
_SUBGRAPH_OUTPUTS: Final = 3
_TENSOR_PROCESS_UNITS: Final = 4
_TENSOR_FILES: Final = 6
_UNIT_KIND: Final = 0
_UNIT_OPTIONS: Final = 1
_NORMALISATION: Final = 1
_MEAN: Final = 0
_DEVIATION: Final = 1
_FILE_NAME: Final = 0
_FILE_KIND: Final = 2
_AXIS_LABELS: Final = 2

_MOST: Final = 1 << 16
"""More entries than any list in there has."""
_LABEL_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is of use here; whatever is not given is None."""

    normalisation: tuple[list[float], list[float]] | None = None
    """Mean and deviation of the first input: (x - mean) / deviation."""
    labels: list[str] | None = None


def read_metadata(content: bytes, output: int, model: bytes) -> Metadata:
    """Read the metadata's flatbuffer, for an output by its number, and the labels from the file.

    Raises ValueError, struct.error and others of their kind for content that makes no sense.
    """
    root = _Table(content, _position(content))
    subgraph = next(root.tables(_MODEL_SUBGRAPHS), None)
    if subgraph is None:
        return Metadata()
    inputs = list(subgraph.tables(_SUBGRAPH_INPUTS))
    outputs = list(subgraph.tables(_SUBGRAPH_OUTPUTS))
    return Metadata(
        normalisation=_normalisation(inputs[0]) if inputs else None,
        labels=_labels(outputs[output], model) if output < len(outputs) else None,
    )


def _normalisation(tensor: "_Table") -> tuple[list[float], list[float]] | None:
    for unit in tensor.tables(_TENSOR_PROCESS_UNITS):
        if unit.byte(_UNIT_KIND) == _NORMALISATION and (options := unit.union(_UNIT_OPTIONS)):
            mean, deviation = options.floats(_MEAN), options.floats(_DEVIATION)
            if mean and deviation:
                return mean, deviation
    return None


def _labels(tensor: "_Table", model: bytes) -> list[str] | None:
    for file in tensor.tables(_TENSOR_FILES):
        if file.byte(_FILE_KIND) == _AXIS_LABELS and zipfile.is_zipfile(io.BytesIO(model)):
            with zipfile.ZipFile(io.BytesIO(model)) as archive:
                entry = archive.getinfo(file.text(_FILE_NAME))
                if entry.file_size > _LABEL_BYTES:
                    return None
                return [line.strip() for line in archive.read(entry).decode().splitlines()]
    return None


def _position(content: bytes) -> int:
    return int(flatbuffers.encode.Get(UOffsetTFlags.packer_type, content, 0))


class _Table:
    """A table of a flatbuffer whose fields are read by their number."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._table = flatbuffers.table.Table(content, position)

    def tables(self, field: int) -> Iterator["_Table"]:
        """Iterate over a field that is a list of tables."""
        for start in self._entries(field, 4):
            yield _Table(self._content, self._table.Indirect(start))

    def floats(self, field: int) -> list[float]:
        """Return a field that is a list of numbers."""
        return [float(self._table.Get(Float32Flags, start)) for start in self._entries(field, 4)]

    def byte(self, field: int) -> int:
        """Return a field that is one of an enumeration; 0 when it is not there."""
        at = self._at(field)
        return int(self._table.Get(Uint8Flags, at + self._table.Pos)) if at else 0

    def text(self, field: int) -> str:
        """Return a field that is a text; "" when it is not there."""
        at = self._at(field)
        return str(self._table.String(at + self._table.Pos), "utf-8") if at else ""

    def union(self, field: int) -> "_Table | None":
        """Return a field that is a table of a kind that another field tells."""
        at = self._at(field)
        return _Table(self._content, self._table.Indirect(at + self._table.Pos)) if at else None

    def _entries(self, field: int, size: int) -> range:
        at = self._at(field)
        count: Any = self._table.VectorLen(at) if at else 0
        if count > _MOST:
            raise ValueError("the metadata is torn")
        start = self._table.Vector(at) if at else 0
        return range(start, start + count * size, size)

    def _at(self, field: int) -> int:
        return int(self._table.Offset(4 + 2 * field))
