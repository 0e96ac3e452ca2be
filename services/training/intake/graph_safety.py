"""What a SavedModel's graph may do: compute, and nothing that reaches beyond the model.

A graph can read and write files, call Python and open connections. TensorFlow says of each op
whether it has a state; one without is a function of its inputs, but for the few below. Of those
with a state only the ones that a network needs are let through.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from services.training.intake.source import unsupported

_REACHES_OUT: Final = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|TextFile|PyFunc|Dataset|Reader|Snapshot|Debug|Dump"
    r"|ImmutableConst|Print|Summary|Checkpoint|Save|Restore|Rpc|Host|Vocab|Kafka|Sql"
)
"""In the names of ops that touch files, Python, or other processes, with a state or not."""

_HARMLESS_STATE: Final = frozenset(
    {
        # Weights.
        "VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp", "ResourceGather",
        "ResourceGatherNd", "VariableShape", "VariableV2", "DisableCopyOnRead",
        # Calls and control flow.
        "PartitionedCall", "StatefulPartitionedCall", "If", "While", "Case", "Assert",
        "TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3",
        "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArrayCloseV3",
        # Chance, which dropout and augmentation leave behind.
        "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal",
        "StatelessRandomGetAlg", "RngReadAndSkip", "RngSkip",
        # Numbers.
        "CheckNumerics", "CheckNumericsV2", "GuaranteeConst", "Empty",
    }
)  # fmt: skip

_CHECKPOINT: Final = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})
"""What the functions are made of by which every SavedModel saves and restores its own weights."""


def check_safe(content: bytes, path: object) -> None:
    """Look at every op in the content of a `saved_model.pb`, `path` for the messages.

    Raises InvalidRequestError (UNSUPPORTED_MODEL), naming the op, when the model could touch
    anything but its inputs and weights, and when it is torn.
    """
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(content)
    except Exception as error:  # protobuf's class depends on its implementation
        raise unsupported(f"{path} is a torn SavedModel") from error
    if not saved.meta_graphs:
        raise unsupported(f"{path} is a SavedModel without a graph")
    for graph in saved.meta_graphs:
        for op in _forbidden(graph):
            raise unsupported(
                f"{path} holds the op {op}, which can touch files, run Python or reach beyond the "
                "model in another way; such a model is never run"
            )


def _forbidden(meta_graph: Any) -> Iterator[str]:
    savers = _saver_functions(meta_graph)
    library = meta_graph.graph_def.library.function
    functions = {function.signature.name for function in library}
    parts: list[tuple[str | None, Iterable[node_def_pb2.NodeDef]]] = [
        (None, meta_graph.graph_def.node)
    ]
    parts.extend((function.signature.name, function.node_def) for function in library)
    for name, nodes in parts:
        for node in nodes:
            if name in savers and node.op in _CHECKPOINT:
                continue
            if not _is_harmless(node.op, functions):
                yield node.op


def _is_harmless(op: str, functions: set[str]) -> bool:
    if op in _HARMLESS_STATE or op in functions:
        return True
    known = op_def_registry.get(op)
    if known is None or known.is_stateful:
        return False
    return op == "ShardedFilename" or not _REACHES_OUT.search(op)


def _saver_functions(meta_graph: Any) -> set[str]:
    """Return the functions that only TensorFlow's own saver calls.

    They are run by none of the loaders used here, which restore weights by themselves; called
    from elsewhere in the graph they would be like any other.
    """
    saver = meta_graph.saver_def
    names = {saver.save_tensor_name.split(":")[0], saver.restore_op_name} - {""}
    savers: set[str] = set()
    called = set(meta_graph.object_graph_def.concrete_functions)
    for node in meta_graph.graph_def.node:
        (savers if node.name in names else called).update(_references(node))
    for function in meta_graph.graph_def.library.function:
        for node in function.node_def:
            called.update(_references(node))
    return savers - called


def _references(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        yield value.func.name
        for function in value.list.func:
            yield function.name
