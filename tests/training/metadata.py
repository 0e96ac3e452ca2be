"""Writes the metadata of TensorFlow Lite's model maker into a .tflite file."""

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from services.training.intake.tflite_graph import read_network

Table = Callable[[Any], int]


def written(
    content: bytes, mean: Sequence[float], deviation: Sequence[float], labels: Sequence[str]
) -> bytes:
    """Return the file with normalisation options and a file of labels."""
    model = read_network(content, None).model
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(_flatbuffer(mean, deviation), np.uint8)
    model.buffers = [*model.buffers, buffer]
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    file = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("labels.txt", "\n".join(labels) + "\n")
    return file.getvalue()


def _flatbuffer(mean: Sequence[float], deviation: Sequence[float]) -> bytes:
    b = flatbuffers.Builder(0)
    options = _table(b, {0: _floats(b, mean), 1: _floats(b, deviation)})
    unit = _table(b, {1: options}, {0: 1})
    taken = _table(b, {0: b.CreateString("image"), 4: _list(b, [unit])})
    labels = _table(b, {0: b.CreateString("labels.txt")}, {2: 2})
    given = _table(b, {0: b.CreateString("probability"), 6: _list(b, [labels])})
    graph = _table(b, {2: _list(b, [taken]), 3: _list(b, [given])})
    b.Finish(_table(b, {0: b.CreateString("net"), 3: _list(b, [graph])}), file_identifier=b"M001")
    return bytes(b.Output())


def _table(b: Any, offsets: dict[int, int], numbers: dict[int, int] | None = None) -> int:
    b.StartObject(8)
    for slot, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in (numbers or {}).items():
        b.PrependUint8Slot(slot, number, 0)
    return int(b.EndObject())


def _list(b: Any, tables: Sequence[int]) -> int:
    b.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        b.PrependUOffsetTRelative(table)
    return int(b.EndVector())


def _floats(b: Any, values: Sequence[float]) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, np.float32)))
