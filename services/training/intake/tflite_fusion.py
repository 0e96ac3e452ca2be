"""Edits a .tflite file's graph: raw uint8 pictures in batches of any size, float32 scores."""

from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from services.training.intake.tflite_graph import (
    DTYPES,
    Network,
    dependents,
    quantisation_of,
    shape_of,
    signature_of,
)
from services.training.intake.tflite_pixels import LEVELS, Pixels

_CODES = {name: code for code, name in DTYPES.items()}


def fuse(network: Network, shape: tuple[int, int, int], pixels: Pixels) -> None:
    """Put the way from pixels to the input before the graph, and dequantising behind it.

    The graph is left with the one output that is wanted, and its batch is made free where a
    constant held it.
    """
    if signature_of(network.input_tensor)[0] is not None:
        _free_batch(network)
    _front(network, shape, pixels)
    _back(network)
    # They name tensors that are no longer the input; the metadata's normalising is done.
    network.model.signatureDefs = None
    network.model.metadata = None


def _front(network: Network, shape: tuple[int, int, int], pixels: Pixels) -> None:
    graph, edit = network.graph, _Edit(network)
    old = graph.inputs[0]
    quantised = DTYPES[network.input_tensor.type] != "float32"
    images = edit.tensor("images", "uint8", shape)
    network.graph.tensors[images].shapeSignature = [-1, *shape]
    current = images
    if pixels.bgr:
        axis = edit.constant("channels", np.array([3], np.int32))
        current = edit.add("REVERSE_V2", [current, axis], edit.tensor("bgr", "uint8", shape))
    if pixels.shifted:
        current = _as_input(edit, current, old)
    else:
        current = edit.cast(current, edit.tensor("values", "float32", shape))
        if not np.all(pixels.scale == 1):
            factor = edit.constant("scale", pixels.scale)
            scaled = edit.tensor("scaled", "float32", shape)
            current = edit.add("MUL", [current, factor], scaled, schema.MulOptionsT())
        if np.any(pixels.offset):
            summand = edit.constant("offset", pixels.offset)
            moved = edit.tensor("moved", "float32", shape)
            current = edit.add("SUB", [current, summand], moved, schema.SubOptionsT())
        if quantised:
            current = edit.add("QUANTIZE", [current], old, schema.QuantizeOptionsT())
    _rename(graph, old, current)
    graph.inputs = [images]
    graph.operators = [*edit.operators, *graph.operators]


def _as_input(edit: "_Edit", current: int, old: int) -> int:
    """Give the pixels the quantisation of the old input, and its type."""
    tensors = edit.network.graph.tensors
    quantisation = quantisation_of(tensors[old])
    if quantisation is None:
        return current
    dtype = DTYPES[tensors[old].type]
    scale, zero_point = quantisation
    parameters = schema.QuantizationParametersT()
    parameters.scale, parameters.zeroPoint = [scale], [zero_point + LEVELS[dtype]]
    tensors[current].quantization = parameters
    if dtype == "uint8":
        return current
    return edit.add("QUANTIZE", [current], old, schema.QuantizeOptionsT())


def _back(network: Network) -> None:
    graph, edit = network.graph, _Edit(network)
    scores = graph.outputs[network.output]
    if DTYPES[network.output_tensor.type] != "float32":
        plain = edit.tensor("scores", "float32", (shape_of(network.output_tensor)[1],))
        scores = edit.add("DEQUANTIZE", [scores], plain, schema.DequantizeOptionsT())
    graph.outputs = [scores]
    graph.operators = [*graph.operators, *edit.operators]


def _rename(graph: Any, old: int, new: int) -> None:
    if old == new:
        return
    for operation in graph.operators:
        operation.inputs = [new if index == old else index for index in operation.inputs]


def _free_batch(network: Network) -> None:
    """Make constants that name the batch take whatever it is.

    The batch is the outermost part of what is reshaped, so that the first side can be left to be
    computed. Whether that was right is seen when batches are compared with single pictures.
    """
    edit = _Edit(network)
    for operation in dependents(network):
        result = shape_of(network.graph.tensors[operation.outputs[0]])
        match network.operator(operation):
            case "RESHAPE" if _is_constant(network, operation):
                sides = [-1, *result[1:]]
                operation.inputs = [
                    operation.inputs[0],
                    edit.constant("sides", np.array(sides, np.int32)),
                ]
                if operation.builtinOptions is not None:
                    operation.builtinOptions.newShape = sides
            case "SQUEEZE" if not _squeezed(operation):
                sides = shape_of(network.graph.tensors[operation.inputs[0]])
                operation.builtinOptions.squeezeDims = [
                    axis for axis, side in enumerate(sides) if side == 1 and axis > 0
                ]


def _is_constant(network: Network, operation: Any) -> bool:
    return len(operation.inputs) < 2 or network.constant(operation.inputs[1]) is not None


def _squeezed(operation: Any) -> bool:
    options = operation.builtinOptions
    return options is None or (options.squeezeDims is not None and len(options.squeezeDims) > 0)


class _Edit:
    """New tensors and operators; the operators are for whoever made it to put in their place."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.operators: list[Any] = []

    def tensor(self, name: str, dtype: str, sides: tuple[int, ...]) -> int:
        """Add a tensor of a batch and return its number."""
        return self._append(name, dtype, [1, *sides], 0)

    def constant(self, name: str, values: npt.NDArray[Any]) -> int:
        """Add a tensor with values and return its number."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.network.model.buffers.append(buffer)
        last = len(self.network.model.buffers) - 1
        return self._append(name, str(values.dtype), list(values.shape), last)

    def cast(self, source: int, result: int) -> int:
        """Add a CAST and return its result."""
        tensors = self.network.graph.tensors
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = tensors[source].type, tensors[result].type
        return self.add("CAST", [source], result, options)

    def add(self, kind: str, inputs: list[int], result: int, options: Any = None) -> int:
        """Add an operator and return its result."""
        operation = schema.OperatorT()
        operation.opcodeIndex = self._code(kind)
        operation.inputs, operation.outputs = inputs, [result]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operation.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operation.builtinOptions = options
        self.operators.append(operation)
        return result

    def _append(self, name: str, dtype: str, shape: list[int], buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = f"facet/{name}", _CODES[dtype], shape
        tensor.buffer = buffer
        tensor.hasRank = True
        self.network.graph.tensors.append(tensor)
        return len(self.network.graph.tensors) - 1

    def _code(self, kind: str) -> int:
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, kind)
        # Readers of older files look at the field of one byte.
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.version = 2 if kind in ("QUANTIZE", "DEQUANTIZE") else 1
        self.network.model.operatorCodes.append(code)
        return len(self.network.model.operatorCodes) - 1
