from facet.recognition.v1 import recognition_pb2 as _recognition_pb2
from facet.type.v1 import model_pb2 as _model_pb2
from facet.type.v1 import request_pb2 as _request_pb2
from facet.type.v1 import tensor_pb2 as _tensor_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CombineRequest(_message.Message):
    __slots__ = ("call_id", "timeout_ms", "items")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    timeout_ms: int
    items: _containers.RepeatedCompositeFieldContainer[CombineItem]
    def __init__(self, call_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., items: _Optional[_Iterable[_Union[CombineItem, _Mapping]]] = ...) -> None: ...

class CombineItem(_message.Message):
    __slots__ = ("descriptor_digest", "descriptor", "images", "pieces", "top_k", "members", "rule", "context")
    DESCRIPTOR_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    descriptor_digest: str
    descriptor: _model_pb2.ModelDescriptor
    images: int
    pieces: _containers.RepeatedCompositeFieldContainer[PieceScores]
    top_k: int
    members: _containers.RepeatedCompositeFieldContainer[MemberScores]
    rule: _model_pb2.EnsembleRule
    context: _request_pb2.RequestContext
    def __init__(self, descriptor_digest: _Optional[str] = ..., descriptor: _Optional[_Union[_model_pb2.ModelDescriptor, _Mapping]] = ..., images: _Optional[int] = ..., pieces: _Optional[_Iterable[_Union[PieceScores, _Mapping]]] = ..., top_k: _Optional[int] = ..., members: _Optional[_Iterable[_Union[MemberScores, _Mapping]]] = ..., rule: _Optional[_Union[_model_pb2.EnsembleRule, str]] = ..., context: _Optional[_Union[_request_pb2.RequestContext, _Mapping]] = ...) -> None: ...

class MemberScores(_message.Message):
    __slots__ = ("weight", "pieces")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    weight: float
    pieces: _containers.RepeatedCompositeFieldContainer[PieceScores]
    def __init__(self, weight: _Optional[float] = ..., pieces: _Optional[_Iterable[_Union[PieceScores, _Mapping]]] = ...) -> None: ...

class PieceScores(_message.Message):
    __slots__ = ("positions", "scores")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    scores: _tensor_pb2.Tensor
    def __init__(self, positions: _Optional[_Iterable[int]] = ..., scores: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class CombineResponse(_message.Message):
    __slots__ = ("call_id", "error", "items")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    error: _status_pb2.Status
    items: _containers.RepeatedCompositeFieldContainer[CombinedItem]
    def __init__(self, call_id: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., items: _Optional[_Iterable[_Union[CombinedItem, _Mapping]]] = ...) -> None: ...

class CombinedItem(_message.Message):
    __slots__ = ("descriptor_needed", "error", "results")
    DESCRIPTOR_NEEDED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    descriptor_needed: bool
    error: _status_pb2.Status
    results: _containers.RepeatedCompositeFieldContainer[_recognition_pb2.ImageResult]
    def __init__(self, descriptor_needed: bool = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., results: _Optional[_Iterable[_Union[_recognition_pb2.ImageResult, _Mapping]]] = ...) -> None: ...
