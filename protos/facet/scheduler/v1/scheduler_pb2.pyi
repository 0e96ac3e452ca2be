from facet.type.v1 import model_pb2 as _model_pb2
from facet.type.v1 import request_pb2 as _request_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_REASON_UNSPECIFIED: _ClassVar[RefusalReason]
    REFUSAL_REASON_OVERLOADED: _ClassVar[RefusalReason]
    REFUSAL_REASON_MODEL_LOADING: _ClassVar[RefusalReason]
    REFUSAL_REASON_MODEL_TOO_LARGE: _ClassVar[RefusalReason]

class Standing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STANDING_UNSPECIFIED: _ClassVar[Standing]
    STANDING_CURRENT: _ClassVar[Standing]
    STANDING_NAMED: _ClassVar[Standing]
    STANDING_ON_DEMAND: _ClassVar[Standing]
REFUSAL_REASON_UNSPECIFIED: RefusalReason
REFUSAL_REASON_OVERLOADED: RefusalReason
REFUSAL_REASON_MODEL_LOADING: RefusalReason
REFUSAL_REASON_MODEL_TOO_LARGE: RefusalReason
STANDING_UNSPECIFIED: Standing
STANDING_CURRENT: Standing
STANDING_NAMED: Standing
STANDING_ON_DEMAND: Standing

class DispatchRequest(_message.Message):
    __slots__ = ("dispatcher", "enqueue", "completed", "lost", "cancelled", "expected", "abandoned", "expired")
    DISPATCHER_FIELD_NUMBER: _ClassVar[int]
    ENQUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    dispatcher: str
    enqueue: _containers.RepeatedCompositeFieldContainer[PieceDescriptor]
    completed: _containers.RepeatedScalarFieldContainer[int]
    lost: _containers.RepeatedCompositeFieldContainer[LostPiece]
    cancelled: _containers.RepeatedScalarFieldContainer[int]
    expected: _containers.RepeatedCompositeFieldContainer[ExpectedRequest]
    abandoned: _containers.RepeatedScalarFieldContainer[int]
    expired: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dispatcher: _Optional[str] = ..., enqueue: _Optional[_Iterable[_Union[PieceDescriptor, _Mapping]]] = ..., completed: _Optional[_Iterable[int]] = ..., lost: _Optional[_Iterable[_Union[LostPiece, _Mapping]]] = ..., cancelled: _Optional[_Iterable[int]] = ..., expected: _Optional[_Iterable[_Union[ExpectedRequest, _Mapping]]] = ..., abandoned: _Optional[_Iterable[int]] = ..., expired: _Optional[_Iterable[int]] = ...) -> None: ...

class ExpectedRequest(_message.Message):
    __slots__ = ("request_id", "model", "images", "timeout_ms", "tenant", "confirm", "context")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    model: _model_pb2.ModelVersion
    images: int
    timeout_ms: int
    tenant: str
    confirm: bool
    context: _request_pb2.RequestContext
    def __init__(self, request_id: _Optional[int] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., images: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., tenant: _Optional[str] = ..., confirm: bool = ..., context: _Optional[_Union[_request_pb2.RequestContext, _Mapping]] = ...) -> None: ...

class PieceDescriptor(_message.Message):
    __slots__ = ("piece_id", "model", "images", "timeout_ms", "request_id", "tenant", "admitted", "explain", "context")
    PIECE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    piece_id: int
    model: _model_pb2.ModelVersion
    images: int
    timeout_ms: int
    request_id: int
    tenant: str
    admitted: bool
    explain: bool
    context: _request_pb2.RequestContext
    def __init__(self, piece_id: _Optional[int] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., images: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., request_id: _Optional[int] = ..., tenant: _Optional[str] = ..., admitted: bool = ..., explain: bool = ..., context: _Optional[_Union[_request_pb2.RequestContext, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("leases", "refusals", "admitted", "wasted_images", "queues")
    class WastedImagesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    LEASES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    ADMITTED_FIELD_NUMBER: _ClassVar[int]
    WASTED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    admitted: _containers.RepeatedScalarFieldContainer[int]
    wasted_images: _containers.ScalarMap[str, int]
    queues: _containers.RepeatedCompositeFieldContainer[ModelQueue]
    def __init__(self, leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., admitted: _Optional[_Iterable[int]] = ..., wasted_images: _Optional[_Mapping[str, int]] = ..., queues: _Optional[_Iterable[_Union[ModelQueue, _Mapping]]] = ...) -> None: ...

class ModelQueue(_message.Message):
    __slots__ = ("model", "waiting_images", "wait_us", "asked_images", "refused_images")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WAITING_IMAGES_FIELD_NUMBER: _ClassVar[int]
    WAIT_US_FIELD_NUMBER: _ClassVar[int]
    ASKED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    waiting_images: int
    wait_us: int
    asked_images: int
    refused_images: int
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., waiting_images: _Optional[int] = ..., wait_us: _Optional[int] = ..., asked_images: _Optional[int] = ..., refused_images: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("request_id", "predicted_ms", "retry_after_ms", "reason")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_MS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    predicted_ms: int
    retry_after_ms: int
    reason: RefusalReason
    def __init__(self, request_id: _Optional[int] = ..., predicted_ms: _Optional[int] = ..., retry_after_ms: _Optional[int] = ..., reason: _Optional[_Union[RefusalReason, str]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("shard", "finish_us")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    FINISH_US_FIELD_NUMBER: _ClassVar[int]
    shard: str
    finish_us: int
    def __init__(self, shard: _Optional[str] = ..., finish_us: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("grant_id", "grant_parts", "shard", "address", "piece_ids", "model", "best")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_PARTS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PIECE_IDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    grant_parts: int
    shard: str
    address: str
    piece_ids: _containers.RepeatedScalarFieldContainer[int]
    model: _model_pb2.ModelVersion
    best: _containers.RepeatedCompositeFieldContainer[Candidate]
    def __init__(self, grant_id: _Optional[str] = ..., grant_parts: _Optional[int] = ..., shard: _Optional[str] = ..., address: _Optional[str] = ..., piece_ids: _Optional[_Iterable[int]] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., best: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("hello", "models", "models_included", "pull", "finished", "ran", "remaining_us", "flight_us", "draining", "shelf")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MODELS_INCLUDED_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    RAN_FIELD_NUMBER: _ClassVar[int]
    REMAINING_US_FIELD_NUMBER: _ClassVar[int]
    FLIGHT_US_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    SHELF_FIELD_NUMBER: _ClassVar[int]
    hello: ShardHello
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelDescriptor]
    models_included: bool
    pull: bool
    finished: _containers.RepeatedScalarFieldContainer[str]
    ran: _containers.RepeatedCompositeFieldContainer[RanBatch]
    remaining_us: int
    flight_us: int
    draining: bool
    shelf: Shelf
    def __init__(self, hello: _Optional[_Union[ShardHello, _Mapping]] = ..., models: _Optional[_Iterable[_Union[_model_pb2.ModelDescriptor, _Mapping]]] = ..., models_included: bool = ..., pull: bool = ..., finished: _Optional[_Iterable[str]] = ..., ran: _Optional[_Iterable[_Union[RanBatch, _Mapping]]] = ..., remaining_us: _Optional[int] = ..., flight_us: _Optional[int] = ..., draining: bool = ..., shelf: _Optional[_Union[Shelf, _Mapping]] = ...) -> None: ...

class Shelf(_message.Message):
    __slots__ = ("budget_bytes", "models")
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    budget_bytes: int
    models: _containers.RepeatedCompositeFieldContainer[ShelvedModel]
    def __init__(self, budget_bytes: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ShelvedModel, _Mapping]]] = ...) -> None: ...

class ShelvedModel(_message.Message):
    __slots__ = ("model", "memory_bytes", "load_us", "standing", "refused")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_US_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    memory_bytes: int
    load_us: int
    standing: Standing
    refused: bool
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., memory_bytes: _Optional[int] = ..., load_us: _Optional[int] = ..., standing: _Optional[_Union[Standing, str]] = ..., refused: bool = ...) -> None: ...

class RanBatch(_message.Message):
    __slots__ = ("images", "device_us")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_US_FIELD_NUMBER: _ClassVar[int]
    images: int
    device_us: int
    def __init__(self, images: _Optional[int] = ..., device_us: _Optional[int] = ...) -> None: ...

class ShardHello(_message.Message):
    __slots__ = ("shard", "address")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    shard: str
    address: str
    def __init__(self, shard: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class PullResponse(_message.Message):
    __slots__ = ("grant", "placement")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    placement: Placement
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ..., placement: _Optional[_Union[Placement, _Mapping]] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("hold",)
    HOLD_FIELD_NUMBER: _ClassVar[int]
    hold: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelVersion]
    def __init__(self, hold: _Optional[_Iterable[_Union[_model_pb2.ModelVersion, _Mapping]]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("grant_id", "model", "parts", "images", "expires_ms", "parked_us")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    PARKED_US_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    model: _model_pb2.ModelVersion
    parts: int
    images: int
    expires_ms: int
    parked_us: int
    def __init__(self, grant_id: _Optional[str] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., parts: _Optional[int] = ..., images: _Optional[int] = ..., expires_ms: _Optional[int] = ..., parked_us: _Optional[int] = ...) -> None: ...
