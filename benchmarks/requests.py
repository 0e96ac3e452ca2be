"""What clients ask: requests of real pictures, made before anything is measured."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import tensor_pb2
from services.training.data.digits import load_digits_dataset


def photographs(test_data: Path) -> list[bytes]:
    """The JPEG files of the labelled photographs, in the order of their names."""
    folder = test_data / "images" / "imagenet_train_sample"
    return [path.read_bytes() for path in sorted(folder.glob("*.JPEG"))]


def digit_pixels() -> npt.NDArray[np.uint8]:
    """Held-out digits, uint8 [n, 28, 28, 1]."""
    return load_digits_dataset().test_images


def digit_files(pixels: npt.NDArray[np.uint8]) -> list[bytes]:
    """The same as PNG files."""
    files = []
    for picture in pixels:
        file = io.BytesIO()
        Image.fromarray(picture[..., 0]).save(file, "PNG")
        files.append(file.getvalue())
    return files


def picture_requests(model: str, files: Sequence[bytes]) -> list[bytes]:
    """Serialised RecognizeRequests with one encoded picture each."""
    selector = recognition_pb2.ModelSelector(name=model)
    return [
        recognition_pb2.RecognizeRequest(
            model=selector, images=[recognition_pb2.Image(content=file)]
        ).SerializeToString()
        for file in files
    ]


def tensor_requests(model: str, pixels: npt.NDArray[np.uint8], images: int) -> list[bytes]:
    """Serialised RecognizeRequests with so many consecutive pictures each, as one tensor."""
    selector = recognition_pb2.ModelSelector(name=model)
    return [
        recognition_pb2.RecognizeRequest(
            model=selector,
            tensor=tensor_pb2.Tensor(
                dtype=tensor_pb2.DATA_TYPE_UINT8,
                shape=[images, *pixels.shape[1:]],
                data=pixels[first : first + images].tobytes(),
            ),
        ).SerializeToString()
        for first in range(0, len(pixels) - images + 1, images)
    ]
