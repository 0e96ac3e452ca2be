"""A .tflite file's graph: what it takes and gives, and what it does first.

The classes of the file format's schema are LiteRT's own (`ai_edge_litert.schema_py_generated`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from services.training.intake.assumptions import Linear
from services.training.intake.source import unsupported

_IDENTIFIER: Final = b"TFL3"

DTYPES: Final[Mapping[int, str]] = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")
}
OPERATORS: Final[Mapping[int, str]] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A file's model, whose main graph has one input of pictures and one output that is wanted."""

    model: Any
    """schema.ModelT, to be edited in place."""
    output: int
    """Number of the output with the scores, among the graph's outputs."""

    @property
    def graph(self) -> Any:
        """The main graph, schema.SubGraphT."""
        return self.model.subgraphs[0]

    @property
    def input_tensor(self) -> Any:
        """schema.TensorT of the pictures."""
        return self.graph.tensors[self.graph.inputs[0]]

    @property
    def output_tensor(self) -> Any:
        """schema.TensorT of the scores."""
        return self.graph.tensors[self.graph.outputs[self.output]]

    def operator(self, operation: Any) -> str:
        """Return the name of what an operator of the graph does, such as "CONV_2D"."""
        return operator_name(self.model.operatorCodes[operation.opcodeIndex])

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return the values of a tensor that are in the file; None when they are computed."""
        tensor = self.graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return None
        dtype = DTYPES[tensor.type]
        return np.frombuffer(bytes(data), np.dtype(dtype)).reshape(shape_of(tensor))


def read_network(content: bytes, output: str | None) -> Network:
    """Parse a file; `output` is the name of the output that is wanted, None for the only one.

    Raises InvalidRequestError (UNSUPPORTED_MODEL) when it does not fit, and whatever comes of a
    torn file.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    if any(buffer.offset for buffer in model.buffers):
        raise unsupported("the model is too large: its weights lie beside the graph")
    strange = sorted(
        {text(code.customCode) for code in model.operatorCodes if operator_name(code) == "CUSTOM"}
    )
    if strange:
        raise unsupported(
            f"the model needs operators that LiteRT does not have: {', '.join(strange)}"
        )
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1:
        raise unsupported(f"the model has {len(graph.inputs)} inputs; it must have one")
    return Network(model, _choose(graph, output))


def write_network(network: Network, path: Path) -> None:
    """Write the model as a file."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(network.model.Pack(builder), file_identifier=_IDENTIFIER)
    path.write_bytes(builder.Output())


def _choose(graph: Any, output: str | None) -> int:
    names = [text(graph.tensors[index].name) for index in graph.outputs]
    if output is None:
        if len(names) != 1:
            raise unsupported(
                f"the model has {len(names)} outputs, {', '.join(names)}: choose one with --output"
            )
        return 0
    if output not in names:
        raise unsupported(f"the model has no output {output!r}, but {', '.join(names)}")
    return names.index(output)


def operator_name(code: Any) -> str:
    """Return the name of an operator code; the newer of two fields is 0 in older files."""
    return OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "an unknown operator")


def shape_of(tensor: Any) -> list[int]:
    """Return a tensor's shape in the file, with 1 for what is free."""
    return [int(side) for side in (tensor.shape if tensor.shape is not None else ())]


def signature_of(tensor: Any) -> list[int | None]:
    """Return a tensor's shape with None for what is free."""
    signature = tensor.shapeSignature
    sides = shape_of(tensor) if signature is None or not len(signature) else signature
    return [None if side < 0 else int(side) for side in sides]


def quantisation_of(tensor: Any) -> tuple[float, int] | None:
    """Return the scale and the zero point of a tensor that has one for all values."""
    found = tensor.quantization
    if found is None or found.scale is None or len(found.scale) != 1:
        return None
    zero = found.zeroPoint
    return float(found.scale[0]), 0 if zero is None or not len(zero) else int(zero[0])


def text(value: Any) -> str:
    """Return a string of the file, which is bytes there."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def first_arithmetic(network: Network) -> Linear:
    """Return what the graph does with its input before anything else."""
    done, tensor = Linear.nothing(), network.graph.inputs[0]
    while len(following := users(network, tensor)) == 1:
        after = _after(network, following[0], done)
        if after is None:
            break
        done, tensor = after, following[0].outputs[0]
    return done


def users(network: Network, tensor: int) -> list[Any]:
    """Return the operators that take a tensor, by its number."""
    return [operation for operation in network.graph.operators if tensor in list(operation.inputs)]


def _after(network: Network, operation: Any, done: Linear) -> Linear | None:
    kind = network.operator(operation)
    if kind in ("CAST", "PAD"):
        return done
    if kind not in ("MUL", "SUB", "ADD", "DIV") or len(operation.inputs) != 2:
        return None
    left, right = (network.constant(index) for index in operation.inputs)
    if kind in ("MUL", "ADD") and right is None:
        right, left = left, None
    if right is None or left is not None or right.dtype != np.float32:
        return None
    match kind:
        case "MUL":
            return done.times(right)
        case "DIV":
            return done.times(1 / right)
        case "ADD":
            return done.plus(right)
        case _:
            return done.plus(-right)


def dependents(network: Network) -> Iterator[Any]:
    """Iterate over the operators whose result depends on the pictures, in their order."""
    known = {network.graph.inputs[0]}
    for operation in network.graph.operators:
        if known & set(operation.inputs):
            known |= set(operation.outputs)
            yield operation
