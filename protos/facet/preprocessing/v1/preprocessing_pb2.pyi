from facet.type.v1 import memory_pb2 as _memory_pb2
from facet.type.v1 import model_pb2 as _model_pb2
from facet.type.v1 import request_pb2 as _request_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PrepareRequest(_message.Message):
    __slots__ = ("call_id", "timeout_ms", "input", "images", "memory", "shared_images", "requests")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    SHARED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    timeout_ms: int
    input: _model_pb2.InputSpec
    images: _containers.RepeatedScalarFieldContainer[bytes]
    memory: _memory_pb2.ArenaHandle
    shared_images: _containers.RepeatedCompositeFieldContainer[SharedImage]
    requests: _containers.RepeatedCompositeFieldContainer[PicturesOfRequest]
    def __init__(self, call_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., input: _Optional[_Union[_model_pb2.InputSpec, _Mapping]] = ..., images: _Optional[_Iterable[bytes]] = ..., memory: _Optional[_Union[_memory_pb2.ArenaHandle, _Mapping]] = ..., shared_images: _Optional[_Iterable[_Union[SharedImage, _Mapping]]] = ..., requests: _Optional[_Iterable[_Union[PicturesOfRequest, _Mapping]]] = ...) -> None: ...

class PicturesOfRequest(_message.Message):
    __slots__ = ("context", "pictures")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    context: _request_pb2.RequestContext
    pictures: int
    def __init__(self, context: _Optional[_Union[_request_pb2.RequestContext, _Mapping]] = ..., pictures: _Optional[int] = ...) -> None: ...

class SharedImage(_message.Message):
    __slots__ = ("content_offset", "content_bytes", "pixels_offset")
    CONTENT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CONTENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PIXELS_OFFSET_FIELD_NUMBER: _ClassVar[int]
    content_offset: int
    content_bytes: int
    pixels_offset: int
    def __init__(self, content_offset: _Optional[int] = ..., content_bytes: _Optional[int] = ..., pixels_offset: _Optional[int] = ...) -> None: ...

class PrepareResponse(_message.Message):
    __slots__ = ("call_id", "error", "images")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    error: _status_pb2.Status
    images: _containers.RepeatedCompositeFieldContainer[PreparedImage]
    def __init__(self, call_id: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., images: _Optional[_Iterable[_Union[PreparedImage, _Mapping]]] = ...) -> None: ...

class PreparedImage(_message.Message):
    __slots__ = ("pixels", "error", "stored")
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    pixels: bytes
    error: _status_pb2.Status
    stored: bool
    def __init__(self, pixels: _Optional[bytes] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., stored: bool = ...) -> None: ...
