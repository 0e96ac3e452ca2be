from facet.type.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DispatchRequest(_message.Message):
    __slots__ = ("dispatcher", "enqueue", "completed", "lost", "cancelled")
    DISPATCHER_FIELD_NUMBER: _ClassVar[int]
    ENQUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    dispatcher: str
    enqueue: _containers.RepeatedCompositeFieldContainer[PieceDescriptor]
    completed: _containers.RepeatedScalarFieldContainer[int]
    lost: _containers.RepeatedCompositeFieldContainer[LostPiece]
    cancelled: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dispatcher: _Optional[str] = ..., enqueue: _Optional[_Iterable[_Union[PieceDescriptor, _Mapping]]] = ..., completed: _Optional[_Iterable[int]] = ..., lost: _Optional[_Iterable[_Union[LostPiece, _Mapping]]] = ..., cancelled: _Optional[_Iterable[int]] = ...) -> None: ...

class PieceDescriptor(_message.Message):
    __slots__ = ("piece_id", "model", "images", "timeout_ms")
    PIECE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    piece_id: int
    model: _model_pb2.ModelVersion
    images: int
    timeout_ms: int
    def __init__(self, piece_id: _Optional[int] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., images: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class LostPiece(_message.Message):
    __slots__ = ("piece_id", "grant_id", "shard_unreachable")
    PIECE_ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    piece_id: int
    grant_id: str
    shard_unreachable: bool
    def __init__(self, piece_id: _Optional[int] = ..., grant_id: _Optional[str] = ..., shard_unreachable: bool = ...) -> None: ...

class DispatchResponse(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    def __init__(self, leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("grant_id", "grant_parts", "shard", "address", "piece_ids", "model")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_PARTS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PIECE_IDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    grant_parts: int
    shard: str
    address: str
    piece_ids: _containers.RepeatedScalarFieldContainer[int]
    model: _model_pb2.ModelVersion
    def __init__(self, grant_id: _Optional[str] = ..., grant_parts: _Optional[int] = ..., shard: _Optional[str] = ..., address: _Optional[str] = ..., piece_ids: _Optional[_Iterable[int]] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("hello", "models", "models_included", "pull", "finished", "draining")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MODELS_INCLUDED_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    hello: ShardHello
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelDescriptor]
    models_included: bool
    pull: bool
    finished: _containers.RepeatedScalarFieldContainer[str]
    draining: bool
    def __init__(self, hello: _Optional[_Union[ShardHello, _Mapping]] = ..., models: _Optional[_Iterable[_Union[_model_pb2.ModelDescriptor, _Mapping]]] = ..., models_included: bool = ..., pull: bool = ..., finished: _Optional[_Iterable[str]] = ..., draining: bool = ...) -> None: ...

class ShardHello(_message.Message):
    __slots__ = ("shard", "address")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    shard: str
    address: str
    def __init__(self, shard: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class PullResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("grant_id", "model", "parts", "images", "expires_ms")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    model: _model_pb2.ModelVersion
    parts: int
    images: int
    expires_ms: int
    def __init__(self, grant_id: _Optional[str] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., parts: _Optional[int] = ..., images: _Optional[int] = ..., expires_ms: _Optional[int] = ...) -> None: ...
