"""What a request must be like before the pipeline sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2, tensor_pb2
from gateway.catalog import Wanted
from gateway.pixels import TensorRows, picture_bytes
from gateway.requests import DEFAULT_TOP_K, Options, Prepared
from services.common.deadline import Deadline
from services.common.errors import InvalidRequestError


def check_selector(selector: recognition_pb2.ModelSelector) -> Wanted:
    """Return what a caller asks for; InvalidRequestError when it makes no sense."""
    if not selector.name:
        raise InvalidRequestError("the request must name a model", reason="MODEL_REQUIRED")
    if not selector.HasField("version"):
        return Wanted(selector.name, label=selector.label)
    if selector.label:
        raise InvalidRequestError(
            "the request names both a version and a label", reason="AMBIGUOUS_MODEL"
        )
    if selector.version < 1:
        raise InvalidRequestError(
            f"versions count from 1, not {selector.version}", reason="INVALID_VERSION"
        )
    return Wanted(selector.name, selector.version)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gateway imposes on every request."""

    max_images: int
    default_deadline_s: float
    max_deadline_s: float

    def deadline(self, remaining_s: float | None) -> Deadline:
        """Return the deadline of a call whose client gave it so many seconds (None: no limit).

        Raises DeadlineExceededError when nothing is left of them.
        """
        wanted = self.default_deadline_s if remaining_s is None else remaining_s
        deadline = Deadline.after(min(wanted, self.max_deadline_s))
        deadline.check("the request arrived")
        return deadline

    def images(self, request: recognition_pb2.RecognizeRequest) -> Sequence[bytes]:
        """Return the encoded pictures of a request; InvalidRequestError when there are none."""
        if not request.images:
            raise InvalidRequestError(
                "the request has neither images nor a tensor", reason="EMPTY_REQUEST"
            )
        self._check_count(len(request.images))
        return [image.content for image in request.images]

    def tensor(self, tensor: tensor_pb2.Tensor, spec: model_pb2.InputSpec) -> Prepared:
        """Return the pictures of a tensor; InvalidRequestError when it is not the model's input."""
        row, nbytes = (spec.height, spec.width, spec.channels), picture_bytes(spec)
        if tensor.dtype != tensor_pb2.DATA_TYPE_UINT8:
            raise InvalidRequestError(
                f"the tensor must be DATA_TYPE_UINT8 ({tensor_pb2.DATA_TYPE_UINT8}), "
                f"not {tensor.dtype}",
                reason="WRONG_DTYPE",
            )
        data, shape = tensor.data, list(tensor.shape)
        count = shape[0] if shape else 0
        if shape != [count, *row] or len(data) != count * nbytes:
            raise InvalidRequestError(
                f"the tensor must be [n, {', '.join(map(str, row))}] with as many bytes, "
                f"not {shape} with {len(data)} bytes",
                reason="WRONG_SHAPE",
            )
        if count == 0:
            raise InvalidRequestError("the tensor has no images", reason="EMPTY_REQUEST")
        self._check_count(count)
        return Prepared(count=count, positions=range(count), pixels=TensorRows(data, nbytes))

    def _check_count(self, images: int) -> None:
        if images > self.max_images:
            raise InvalidRequestError(
                f"{images} images are more than the {self.max_images} that one request may have",
                reason="TOO_MANY_IMAGES",
            )


def check_options(options: recognition_pb2.RecognitionOptions) -> Options:
    """Return the caller's options; InvalidRequestError when they make no sense."""
    top_k = options.top_k if options.HasField("top_k") else DEFAULT_TOP_K
    if top_k < 1:
        raise InvalidRequestError("top_k must be at least 1", reason="INVALID_OPTION")
    return Options(top_k=top_k, explain=options.explain)


def check_one_source(request: recognition_pb2.RecognizeRequest) -> None:
    """Raise InvalidRequestError when a request has both images and a tensor."""
    if request.images and request.HasField("tensor"):
        raise InvalidRequestError(
            "the request has both images and a tensor", reason="AMBIGUOUS_REQUEST"
        )
