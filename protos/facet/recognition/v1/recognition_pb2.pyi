from facet.type.v1 import model_pb2 as _model_pb2
from facet.type.v1 import tensor_pb2 as _tensor_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelSelector(_message.Message):
    __slots__ = ("name", "version", "label")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    label: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...

class RecognitionOptions(_message.Message):
    __slots__ = ("top_k", "explain")
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    top_k: int
    explain: bool
    def __init__(self, top_k: _Optional[int] = ..., explain: bool = ...) -> None: ...

class RecognizeRequest(_message.Message):
    __slots__ = ("model", "images", "tensor", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: ModelSelector
    images: _containers.RepeatedCompositeFieldContainer[Image]
    tensor: _tensor_pb2.Tensor
    options: RecognitionOptions
    def __init__(self, model: _Optional[_Union[ModelSelector, _Mapping]] = ..., images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., tensor: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., options: _Optional[_Union[RecognitionOptions, _Mapping]] = ...) -> None: ...

class RecognizeResponse(_message.Message):
    __slots__ = ("model", "results", "executions", "partial", "failures")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    results: _containers.RepeatedCompositeFieldContainer[ImageResult]
    executions: _containers.RepeatedCompositeFieldContainer[Execution]
    partial: bool
    failures: _containers.RepeatedCompositeFieldContainer[MemberFailure]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., results: _Optional[_Iterable[_Union[ImageResult, _Mapping]]] = ..., executions: _Optional[_Iterable[_Union[Execution, _Mapping]]] = ..., partial: bool = ..., failures: _Optional[_Iterable[_Union[MemberFailure, _Mapping]]] = ...) -> None: ...

class MemberFailure(_message.Message):
    __slots__ = ("model", "error", "images")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    error: _status_pb2.Status
    images: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., images: _Optional[_Iterable[int]] = ...) -> None: ...

class ImageResult(_message.Message):
    __slots__ = ("classification", "error")
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    classification: Classification
    error: _status_pb2.Status
    def __init__(self, classification: _Optional[_Union[Classification, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("classes",)
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedCompositeFieldContainer[ClassScore]
    def __init__(self, classes: _Optional[_Iterable[_Union[ClassScore, _Mapping]]] = ...) -> None: ...

class ClassScore(_message.Message):
    __slots__ = ("label", "index", "score")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    label: str
    index: int
    score: float
    def __init__(self, label: _Optional[str] = ..., index: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("shard", "images", "batch_size", "queue_us", "device_us", "attempts", "candidates", "model")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    DEVICE_US_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    shard: str
    images: _containers.RepeatedScalarFieldContainer[int]
    batch_size: int
    queue_us: int
    device_us: int
    attempts: int
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    model: _model_pb2.ModelVersion
    def __init__(self, shard: _Optional[str] = ..., images: _Optional[_Iterable[int]] = ..., batch_size: _Optional[int] = ..., queue_us: _Optional[int] = ..., device_us: _Optional[int] = ..., attempts: _Optional[int] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("shard", "finish_us")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    FINISH_US_FIELD_NUMBER: _ClassVar[int]
    shard: str
    finish_us: int
    def __init__(self, shard: _Optional[str] = ..., finish_us: _Optional[int] = ...) -> None: ...

class StreamRecognizeRequest(_message.Message):
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    request: RecognizeRequest
    def __init__(self, id: _Optional[str] = ..., request: _Optional[_Union[RecognizeRequest, _Mapping]] = ...) -> None: ...

class StreamRecognizeResponse(_message.Message):
    __slots__ = ("id", "response", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    response: RecognizeResponse
    error: _status_pb2.Status
    def __init__(self, id: _Optional[str] = ..., response: _Optional[_Union[RecognizeResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: ModelSelector
    def __init__(self, model: _Optional[_Union[ModelSelector, _Mapping]] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model", "input", "labels", "classes", "shards", "engine", "ensemble")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.ModelVersion
    input: _model_pb2.InputSpec
    labels: _containers.RepeatedScalarFieldContainer[str]
    classes: int
    shards: _containers.RepeatedScalarFieldContainer[str]
    engine: str
    ensemble: _model_pb2.Ensemble
    def __init__(self, model: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., input: _Optional[_Union[_model_pb2.InputSpec, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., classes: _Optional[int] = ..., shards: _Optional[_Iterable[str]] = ..., engine: _Optional[str] = ..., ensemble: _Optional[_Union[_model_pb2.Ensemble, _Mapping]] = ...) -> None: ...
