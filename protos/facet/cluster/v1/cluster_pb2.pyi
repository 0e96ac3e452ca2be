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
    __slots__ = ("instances", "registry_reachable", "missing")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_REACHABLE_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    registry_reachable: bool
    missing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., registry_reachable: bool = ..., missing: _Optional[_Iterable[str]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("service", "id", "address", "state", "models", "load", "refused", "wasted_images")
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
    service: str
    id: str
    address: str
    state: InstanceState
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.ModelVersion]
    load: ShardLoad
    refused: _containers.RepeatedCompositeFieldContainer[RefusedModel]
    wasted_images: _containers.ScalarMap[str, int]
    def __init__(self, service: _Optional[str] = ..., id: _Optional[str] = ..., address: _Optional[str] = ..., state: _Optional[_Union[InstanceState, str]] = ..., models: _Optional[_Iterable[_Union[_model_pb2.ModelVersion, _Mapping]]] = ..., load: _Optional[_Union[ShardLoad, _Mapping]] = ..., refused: _Optional[_Iterable[_Union[RefusedModel, _Mapping]]] = ..., wasted_images: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ShardLoad(_message.Message):
    __slots__ = ("outstanding_images", "completed_images", "completed_batches", "device_us", "wasted_images", "wasted_us")
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
    outstanding_images: int
    completed_images: int
    completed_batches: int
    device_us: int
    wasted_images: _containers.ScalarMap[str, int]
    wasted_us: _containers.ScalarMap[str, int]
    def __init__(self, outstanding_images: _Optional[int] = ..., completed_images: _Optional[int] = ..., completed_batches: _Optional[int] = ..., device_us: _Optional[int] = ..., wasted_images: _Optional[_Mapping[str, int]] = ..., wasted_us: _Optional[_Mapping[str, int]] = ...) -> None: ...

class RefusedModel(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    reason: str
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...
