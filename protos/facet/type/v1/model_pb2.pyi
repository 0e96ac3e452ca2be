from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnsembleRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENSEMBLE_RULE_UNSPECIFIED: _ClassVar[EnsembleRule]
    ENSEMBLE_RULE_MEAN: _ClassVar[EnsembleRule]
    ENSEMBLE_RULE_WEIGHTED: _ClassVar[EnsembleRule]
    ENSEMBLE_RULE_VOTE: _ClassVar[EnsembleRule]
ENSEMBLE_RULE_UNSPECIFIED: EnsembleRule
ENSEMBLE_RULE_MEAN: EnsembleRule
ENSEMBLE_RULE_WEIGHTED: EnsembleRule
ENSEMBLE_RULE_VOTE: EnsembleRule

class ModelVersion(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class InputSpec(_message.Message):
    __slots__ = ("height", "width", "channels", "resize_shorter_side")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    RESIZE_SHORTER_SIDE_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    channels: int
    resize_shorter_side: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., channels: _Optional[int] = ..., resize_shorter_side: _Optional[int] = ...) -> None: ...

class ModelDescriptor(_message.Message):
    __slots__ = ("model", "input", "labels", "digest", "max_batch", "engine", "batch_seconds", "image_seconds", "piece_images", "ensemble")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PIECE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    model: ModelVersion
    input: InputSpec
    labels: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    max_batch: int
    engine: str
    batch_seconds: float
    image_seconds: float
    piece_images: int
    ensemble: Ensemble
    def __init__(self, model: _Optional[_Union[ModelVersion, _Mapping]] = ..., input: _Optional[_Union[InputSpec, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ..., max_batch: _Optional[int] = ..., engine: _Optional[str] = ..., batch_seconds: _Optional[float] = ..., image_seconds: _Optional[float] = ..., piece_images: _Optional[int] = ..., ensemble: _Optional[_Union[Ensemble, _Mapping]] = ...) -> None: ...

class Ensemble(_message.Message):
    __slots__ = ("rule", "members")
    RULE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    rule: EnsembleRule
    members: _containers.RepeatedCompositeFieldContainer[EnsembleMember]
    def __init__(self, rule: _Optional[_Union[EnsembleRule, str]] = ..., members: _Optional[_Iterable[_Union[EnsembleMember, _Mapping]]] = ...) -> None: ...

class EnsembleMember(_message.Message):
    __slots__ = ("model", "weight")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    model: ModelVersion
    weight: float
    def __init__(self, model: _Optional[_Union[ModelVersion, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...
