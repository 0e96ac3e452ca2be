from facet.cluster.v1 import cluster_pb2 as _cluster_pb2
from facet.type.v1 import memory_pb2 as _memory_pb2
from facet.type.v1 import model_pb2 as _model_pb2
from facet.type.v1 import request_pb2 as _request_pb2
from facet.type.v1 import tensor_pb2 as _tensor_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UnwantedReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNWANTED_REASON_UNSPECIFIED: _ClassVar[UnwantedReason]
    UNWANTED_REASON_CANCELLED: _ClassVar[UnwantedReason]
    UNWANTED_REASON_DEADLINE: _ClassVar[UnwantedReason]
    UNWANTED_REASON_HEDGED: _ClassVar[UnwantedReason]
UNWANTED_REASON_UNSPECIFIED: UnwantedReason
UNWANTED_REASON_CANCELLED: UnwantedReason
UNWANTED_REASON_DEADLINE: UnwantedReason
UNWANTED_REASON_HEDGED: UnwantedReason

class InferRequest(_message.Message):
    __slots__ = ("call_id", "timeout_ms", "grant_id", "grant_parts", "model", "pieces", "memory", "unwanted")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_PARTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    UNWANTED_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    timeout_ms: int
    grant_id: str
    grant_parts: int
    model: _model_pb2.ModelVersion
    pieces: _containers.RepeatedCompositeFieldContainer[Piece]
    memory: _memory_pb2.ArenaHandle
    unwanted: _containers.RepeatedCompositeFieldContainer[UnwantedPiece]
    def __init__(self, call_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., grant_id: _Optional[str] = ..., grant_parts: _Optional[int] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., pieces: _Optional[_Iterable[_Union[Piece, _Mapping]]] = ..., memory: _Optional[_Union[_memory_pb2.ArenaHandle, _Mapping]] = ..., unwanted: _Optional[_Iterable[_Union[UnwantedPiece, _Mapping]]] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("piece_id", "images", "pixels", "offsets", "timeout_ms", "context")
    PIECE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    piece_id: int
    images: int
    pixels: _containers.RepeatedScalarFieldContainer[bytes]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    timeout_ms: int
    context: _request_pb2.RequestContext
    def __init__(self, piece_id: _Optional[int] = ..., images: _Optional[int] = ..., pixels: _Optional[_Iterable[bytes]] = ..., offsets: _Optional[_Iterable[int]] = ..., timeout_ms: _Optional[int] = ..., context: _Optional[_Union[_request_pb2.RequestContext, _Mapping]] = ...) -> None: ...

class UnwantedPiece(_message.Message):
    __slots__ = ("piece_id", "reason")
    PIECE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    piece_id: int
    reason: UnwantedReason
    def __init__(self, piece_id: _Optional[int] = ..., reason: _Optional[_Union[UnwantedReason, str]] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("call_id", "error", "outputs", "batch_size", "queue_us", "device_us")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    DEVICE_US_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    error: _status_pb2.Status
    outputs: _containers.RepeatedCompositeFieldContainer[PieceOutput]
    batch_size: int
    queue_us: int
    device_us: int
    def __init__(self, call_id: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., outputs: _Optional[_Iterable[_Union[PieceOutput, _Mapping]]] = ..., batch_size: _Optional[int] = ..., queue_us: _Optional[int] = ..., device_us: _Optional[int] = ...) -> None: ...

class PieceOutput(_message.Message):
    __slots__ = ("piece_id", "error", "scores")
    PIECE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    piece_id: int
    error: _status_pb2.Status
    scores: _tensor_pb2.Tensor
    def __init__(self, piece_id: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., scores: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class WatchShardRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchShardResponse(_message.Message):
    __slots__ = ("sequence", "models", "models_included", "refused", "load", "releases")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MODELS_INCLUDED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelDescriptor]
    models_included: bool
    refused: _containers.RepeatedCompositeFieldContainer[_cluster_pb2.RefusedModel]
    load: _cluster_pb2.ShardLoad
    releases: _containers.RepeatedCompositeFieldContainer[ModelReleases]
    def __init__(self, sequence: _Optional[int] = ..., models: _Optional[_Iterable[_Union[_model_pb2.ModelDescriptor, _Mapping]]] = ..., models_included: bool = ..., refused: _Optional[_Iterable[_Union[_cluster_pb2.RefusedModel, _Mapping]]] = ..., load: _Optional[_Union[_cluster_pb2.ShardLoad, _Mapping]] = ..., releases: _Optional[_Iterable[_Union[ModelReleases, _Mapping]]] = ...) -> None: ...

class ModelReleases(_message.Message):
    __slots__ = ("name", "sequence", "current", "previous", "labels", "versions", "retired")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    name: str
    sequence: int
    current: int
    previous: _containers.RepeatedScalarFieldContainer[int]
    labels: _containers.ScalarMap[str, int]
    versions: _containers.RepeatedScalarFieldContainer[int]
    retired: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., sequence: _Optional[int] = ..., current: _Optional[int] = ..., previous: _Optional[_Iterable[int]] = ..., labels: _Optional[_Mapping[str, int]] = ..., versions: _Optional[_Iterable[int]] = ..., retired: _Optional[_Iterable[int]] = ...) -> None: ...

class WatchBatchesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchBatchesResponse(_message.Message):
    __slots__ = ("batches", "left_out")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[Batch]
    left_out: int
    def __init__(self, batches: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ..., left_out: _Optional[int] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("model", "images", "device_us", "predicted_us")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_US_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_US_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    images: int
    device_us: int
    predicted_us: int
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., images: _Optional[int] = ..., device_us: _Optional[int] = ..., predicted_us: _Optional[int] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ...) -> None: ...

class DescribeModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelDescriptor
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelDescriptor, _Mapping]] = ...) -> None: ...
