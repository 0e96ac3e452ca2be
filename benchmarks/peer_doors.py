"""How a client asks the peers: requests are made beforehand, answers are parsed and checked."""

from collections.abc import Sequence
from typing import Final

import aiohttp
import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from benchmarks.load import TIMEOUT_S

MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
LENGTH_BYTES: Final = 4

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
# Of the Open Inference Protocol only what this client needs: (name, number, type, type's name).
_TENSOR_FIELDS: Final = (
    ("name", 1, _FIELD.TYPE_STRING, ""),
    ("datatype", 2, _FIELD.TYPE_STRING, ""),
    ("shape", 3, _FIELD.TYPE_INT64, ""),
)
_REQUEST_FIELDS: Final = (
    ("model_name", 1, _FIELD.TYPE_STRING, ""),
    ("inputs", 5, _FIELD.TYPE_MESSAGE, ".inference.Tensor"),
    ("raw_input_contents", 7, _FIELD.TYPE_BYTES, ""),
)
_RESPONSE_FIELDS: Final = (
    ("outputs", 5, _FIELD.TYPE_MESSAGE, ".inference.Tensor"),
    ("raw_output_contents", 6, _FIELD.TYPE_BYTES, ""),
)
_REPEATED: Final = frozenset(
    {"shape", "inputs", "raw_input_contents", "outputs", "raw_output_contents"}
)


class TritonDoor:
    """ModelInfer over gRPC, on one channel."""

    def __init__(self, address: str) -> None:
        response = _messages()["inference.Response"]
        self._channel = grpc.aio.insecure_channel(address)
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, message.Message] = (
            self._channel.unary_unary(MODEL_INFER, response_deserializer=response.FromString)
        )

    async def ask(self, request: bytes, images: int) -> None:
        """See Door.ask; one picture."""
        response = await self._call(request, timeout=TIMEOUT_S)
        contents = dict(
            zip(
                (each.name for each in getattr(response, "outputs")),  # noqa: B009  # dynamic
                getattr(response, "raw_output_contents"),  # noqa: B009  # dynamic
                strict=True,
            )
        )
        if len(contents["labels"]) <= LENGTH_BYTES or not contents["scores"]:
            raise RuntimeError(f"the picture was not recognised: {response}")

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class LitServeDoor:
    """POST /predict, connections kept alive."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/predict"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            headers={"content-type": "application/octet-stream"},
        )

    async def ask(self, request: bytes, images: int) -> None:
        """See Door.ask; one picture."""
        async with self._session.post(self._url, data=request) as response:
            response.raise_for_status()
            answer = await response.json()
        if not (answer["labels"] and answer["scores"]):
            raise RuntimeError(f"the picture was not recognised: {answer}")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def triton_requests(files: Sequence[bytes]) -> list[bytes]:
    """Serialised ModelInferRequests with one encoded picture each."""
    request = _messages()["inference.Request"]
    return [
        request(
            model_name="peer",
            inputs=[{"name": "picture", "datatype": "BYTES", "shape": [1, 1]}],
            raw_input_contents=[len(file).to_bytes(LENGTH_BYTES, "little") + file],
        ).SerializeToString()
        for file in files
    ]


def _messages() -> dict[str, type[message.Message]]:
    file = descriptor_pb2.FileDescriptorProto(
        name="peer_inference.proto", package="inference", syntax="proto3"
    )
    for name, fields in (
        ("Tensor", _TENSOR_FIELDS),
        ("Request", _REQUEST_FIELDS),
        ("Response", _RESPONSE_FIELDS),
    ):
        described = file.message_type.add(name=name)
        for field, number, kind, type_name in fields:
            repeated = field in _REPEATED
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            described.field.add(
                name=field, number=number, type=kind, type_name=type_name or None, label=label
            )
    # A pool of its own: real stubs of the same package may be loaded as well.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        full: message_factory.GetMessageClass(pool.FindMessageTypeByName(full))
        for full in ("inference.Request", "inference.Response")
    }
