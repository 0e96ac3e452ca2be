"""Stock .tflite files that were torn, or made to do harm."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.manifest import Manifest
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.training.intake.tflite_files import TfliteSource
from services.training.intake.tflite_graph import read_network, write_network
from tests.training import metadata
from tests.training.tflite_models import (  # noqa: F401  # fixtures
    CLASSES,
    add,
    floats,
    net,
    plain,
    repository,
)

# Fixtures have the names of their imports.
# ruff: noqa: F811

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NONE = Normalisation.preset("none")


def edited(content: bytes, edit: Callable[[Any], None], path: Path) -> bytes:
    """Return a file whose graph was changed by hand."""
    network = read_network(content, None)
    network.graph.operators = list(network.graph.operators)
    edit(network)
    write_network(network, path)
    return path.read_bytes()


def test_operators_that_litert_does_not_have_are_named(
    add: Callable[..., Manifest], plain: bytes, tmp_path: Path
) -> None:
    def flex(network: Any) -> None:
        for code in network.model.operatorCodes[:1]:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = "FlexErf"

    content = edited(plain, flex, tmp_path / "flex.tflite")
    with pytest.raises(InvalidRequestError, match=r"does not have: FlexErf$"):
        add(content, normalisation=NONE)


def test_a_file_that_crashes_litert_is_refused(
    add: Callable[..., Manifest], repository: ModelRepository, plain: bytes, tmp_path: Path
) -> None:
    def call_itself(network: Any) -> None:
        """Add an IF whose branches are the whole graph, again and again."""
        network.model.buffers.append(schema.BufferT())
        network.model.buffers[-1].data = np.array([1], np.uint8)
        always = schema.TensorT()
        always.shape, always.type = [], schema.TensorType.BOOL
        always.buffer = len(network.model.buffers) - 1
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.IF
        network.model.operatorCodes.append(code)
        network.graph.tensors.append(always)
        branch = schema.OperatorT()
        branch.opcodeIndex = len(network.model.operatorCodes) - 1
        branch.inputs = [len(network.graph.tensors) - 1, network.graph.inputs[0]]
        branch.outputs = [network.graph.outputs[0]]
        branch.builtinOptionsType = schema.BuiltinOptions.IfOptions
        branch.builtinOptions = schema.IfOptionsT()
        network.graph.operators.append(branch)

    content = edited(plain, call_itself, tmp_path / "endless.tflite")
    with pytest.raises(InvalidRequestError, match=r"crashes LiteRT \(SIG"):
        add(content, normalisation=NONE)
    assert repository.list_models() == ()


def test_scores_that_are_not_numbers_are_refused(
    add: Callable[..., Manifest], repository: ModelRepository
) -> None:
    broken = net()
    broken.layers[-1].bias.assign([float("nan")] * CLASSES)
    with pytest.raises(ModelRefusedError, match="finite"):
        add(floats(broken), normalisation=NONE)
    assert repository.list_models() == ()


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_torn_file_is_refused_or_whole(tmp_path: Path, plain: bytes, data: st.DataObject) -> None:
    content = bytearray(plain[: data.draw(st.integers(9, len(plain)))])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    path, scratch = tmp_path / "torn.tflite", tmp_path / "scratch"
    path.write_bytes(content)
    scratch.mkdir(exist_ok=True)
    refusal = None
    try:
        # What is torn may be a weight: then it is a file like any other.
        assert TfliteSource(path, None, scratch).classes >= 1
    except InvalidRequestError as error:
        refusal = error
    assert refusal is None or (refusal.reason, refusal.message.count("\n")) == (
        "UNSUPPORTED_MODEL",
        0,
    )


def test_torn_metadata_is_a_refusal(add: Callable[..., Manifest], plain: bytes) -> None:
    content = bytearray(metadata.written(plain, [127.5], [127.5], ["a"] * CLASSES))
    place = content.index(struct.pack("<f", 127.5)) - 4
    content[place : place + 4] = b"\xff\xff\xff\x7f"
    with pytest.raises(InvalidRequestError, match="is torn"):
        add(bytes(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["labels.txt"]
