from facet.type.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATE_UNSPECIFIED: _ClassVar[InstanceState]
    INSTANCE_STATE_SERVING: _ClassVar[InstanceState]
    INSTANCE_STATE_UNREACHABLE: _ClassVar[InstanceState]
    INSTANCE_STATE_STANDBY: _ClassVar[InstanceState]
INSTANCE_STATE_UNSPECIFIED: InstanceState
INSTANCE_STATE_SERVING: InstanceState
INSTANCE_STATE_UNREACHABLE: InstanceState
INSTANCE_STATE_STANDBY: InstanceState

class GetClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetClusterResponse(_message.Message):
    __slots__ = ("cluster",)
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    cluster: Cluster
    def __init__(self, cluster: _Optional[_Union[Cluster, _Mapping]] = ...) -> None: ...

class WatchClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchClusterResponse(_message.Message):
    __slots__ = ("cluster",)
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    cluster: Cluster
    def __init__(self, cluster: _Optional[_Union[Cluster, _Mapping]] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("instances", "registry_reachable", "missing", "performance")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_REACHABLE_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    registry_reachable: bool
    missing: _containers.RepeatedScalarFieldContainer[str]
    performance: Performance
    def __init__(self, instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., registry_reachable: bool = ..., missing: _Optional[_Iterable[str]] = ..., performance: _Optional[_Union[Performance, _Mapping]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("service", "id", "address", "state", "models", "load", "refused", "wasted_images", "performance")
    class WastedImagesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WASTED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    service: str
    id: str
    address: str
    state: InstanceState
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelVersion]
    load: ShardLoad
    refused: _containers.RepeatedCompositeFieldContainer[RefusedModel]
    wasted_images: _containers.ScalarMap[str, int]
    performance: ShardPerformance
    def __init__(self, service: _Optional[str] = ..., id: _Optional[str] = ..., address: _Optional[str] = ..., state: _Optional[_Union[InstanceState, str]] = ..., models: _Optional[_Iterable[_Union[_model_pb2.ModelVersion, _Mapping]]] = ..., load: _Optional[_Union[ShardLoad, _Mapping]] = ..., refused: _Optional[_Iterable[_Union[RefusedModel, _Mapping]]] = ..., wasted_images: _Optional[_Mapping[str, int]] = ..., performance: _Optional[_Union[ShardPerformance, _Mapping]] = ...) -> None: ...

class ShardLoad(_message.Message):
    __slots__ = ("outstanding_images", "completed_images", "completed_batches", "device_us", "wasted_images", "wasted_us", "models")
    class WastedImagesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class WastedUsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    OUTSTANDING_IMAGES_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_US_FIELD_NUMBER: _ClassVar[int]
    WASTED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    WASTED_US_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    outstanding_images: int
    completed_images: int
    completed_batches: int
    device_us: int
    wasted_images: _containers.ScalarMap[str, int]
    wasted_us: _containers.ScalarMap[str, int]
    models: _containers.RepeatedCompositeFieldContainer[ModelLoad]
    def __init__(self, outstanding_images: _Optional[int] = ..., completed_images: _Optional[int] = ..., completed_batches: _Optional[int] = ..., device_us: _Optional[int] = ..., wasted_images: _Optional[_Mapping[str, int]] = ..., wasted_us: _Optional[_Mapping[str, int]] = ..., models: _Optional[_Iterable[_Union[ModelLoad, _Mapping]]] = ...) -> None: ...

class ModelLoad(_message.Message):
    __slots__ = ("model", "max_batch", "batch_us", "image_us", "slowness", "completed_batches", "completed_images", "device_us", "predicted_us", "error", "bias")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    BATCH_US_FIELD_NUMBER: _ClassVar[int]
    IMAGE_US_FIELD_NUMBER: _ClassVar[int]
    SLOWNESS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_US_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_US_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    max_batch: int
    batch_us: float
    image_us: float
    slowness: float
    completed_batches: int
    completed_images: int
    device_us: int
    predicted_us: int
    error: float
    bias: float
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., max_batch: _Optional[int] = ..., batch_us: _Optional[float] = ..., image_us: _Optional[float] = ..., slowness: _Optional[float] = ..., completed_batches: _Optional[int] = ..., completed_images: _Optional[int] = ..., device_us: _Optional[int] = ..., predicted_us: _Optional[int] = ..., error: _Optional[float] = ..., bias: _Optional[float] = ...) -> None: ...

class Performance(_message.Message):
    __slots__ = ("images_per_s", "capacity_images_per_s", "headroom_images_per_s", "utilisation", "waiting_images", "shards", "desired_shards", "models", "requests")
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    HEADROOM_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_FIELD_NUMBER: _ClassVar[int]
    WAITING_IMAGES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    DESIRED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    images_per_s: float
    capacity_images_per_s: float
    headroom_images_per_s: float
    utilisation: float
    waiting_images: int
    shards: int
    desired_shards: int
    models: _containers.RepeatedCompositeFieldContainer[ModelPerformance]
    requests: Requests
    def __init__(self, images_per_s: _Optional[float] = ..., capacity_images_per_s: _Optional[float] = ..., headroom_images_per_s: _Optional[float] = ..., utilisation: _Optional[float] = ..., waiting_images: _Optional[int] = ..., shards: _Optional[int] = ..., desired_shards: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelPerformance, _Mapping]]] = ..., requests: _Optional[_Union[Requests, _Mapping]] = ...) -> None: ...

class ModelPerformance(_message.Message):
    __slots__ = ("model", "shards", "images_per_s", "capacity_images_per_s", "headroom_images_per_s", "waiting_images", "wait_us", "asked_images_per_s", "refused_images_per_s")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    HEADROOM_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    WAITING_IMAGES_FIELD_NUMBER: _ClassVar[int]
    WAIT_US_FIELD_NUMBER: _ClassVar[int]
    ASKED_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    REFUSED_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    shards: int
    images_per_s: float
    capacity_images_per_s: float
    headroom_images_per_s: float
    waiting_images: int
    wait_us: int
    asked_images_per_s: float
    refused_images_per_s: float
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., shards: _Optional[int] = ..., images_per_s: _Optional[float] = ..., capacity_images_per_s: _Optional[float] = ..., headroom_images_per_s: _Optional[float] = ..., waiting_images: _Optional[int] = ..., wait_us: _Optional[int] = ..., asked_images_per_s: _Optional[float] = ..., refused_images_per_s: _Optional[float] = ...) -> None: ...

class Requests(_message.Message):
    __slots__ = ("in_hand", "answered", "failed")
    class FailedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    IN_HAND_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    in_hand: int
    answered: int
    failed: _containers.ScalarMap[str, int]
    def __init__(self, in_hand: _Optional[int] = ..., answered: _Optional[int] = ..., failed: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ShardPerformance(_message.Message):
    __slots__ = ("images_per_s", "capacity_images_per_s", "utilisation", "busy_share", "models")
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_FIELD_NUMBER: _ClassVar[int]
    BUSY_SHARE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    images_per_s: float
    capacity_images_per_s: float
    utilisation: float
    busy_share: float
    models: _containers.RepeatedCompositeFieldContainer[ShardModelPerformance]
    def __init__(self, images_per_s: _Optional[float] = ..., capacity_images_per_s: _Optional[float] = ..., utilisation: _Optional[float] = ..., busy_share: _Optional[float] = ..., models: _Optional[_Iterable[_Union[ShardModelPerformance, _Mapping]]] = ...) -> None: ...

class ShardModelPerformance(_message.Message):
    __slots__ = ("model", "images_per_s", "capacity_images_per_s", "utilisation", "batch_images", "predicted_to_real")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_IMAGES_PER_S_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_FIELD_NUMBER: _ClassVar[int]
    BATCH_IMAGES_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_TO_REAL_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    images_per_s: float
    capacity_images_per_s: float
    utilisation: float
    batch_images: float
    predicted_to_real: float
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., images_per_s: _Optional[float] = ..., capacity_images_per_s: _Optional[float] = ..., utilisation: _Optional[float] = ..., batch_images: _Optional[float] = ..., predicted_to_real: _Optional[float] = ...) -> None: ...

class RefusedModel(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    reason: str
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...
