"""Loading a stranger's Keras model: safely, and only if it recognises pictures."""

from pathlib import Path
from typing import Any, Final

import keras

from services.common.errors import InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.training.source_files import check_keras_file

_INPUT_TYPES: Final = ("float32", "float16", "bfloat16", "uint8")
_OUTPUT_TYPES: Final = ("float32", "float16", "bfloat16")


def load(path: Path) -> Any:
    """Return the keras.Model in a .keras file, never running code from the file.

    Raises InvalidRequestError (UNSUPPORTED_MODEL) for anything else, and for a model that needs
    classes which are not Keras's own.
    """
    check_keras_file(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a layer raises
        raise InvalidRequestError(_explain(path, error), reason="UNSUPPORTED_MODEL") from error
    return model


def input_spec(model: Any, *, resize: int, crop: int) -> InputSpec:
    """Return what a model takes, for pictures that are resized and cropped to that many pixels.

    0 means not given; a crop without a resize makes the shorter side the crop's. Raises
    InvalidRequestError (UNSUPPORTED_MODEL) when the model does not take one batch of pictures, and
    InvalidRequestError when the cut does not give the model's input.
    """
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1:
        raise _unsupported(f"the model has {len(inputs)} inputs; it must have one")
    shape = tuple(inputs[0].shape)
    if len(shape) != 4 or shape[0] is not None or shape[3] not in (1, 3):
        raise _unsupported(
            "the model's input must be a batch of pictures, (None, height, width, channels) with "
            f"1 or 3 channels, not {shape}"
        )
    if inputs[0].dtype not in _INPUT_TYPES:
        raise _unsupported(f"the model's input must be floating-point, not {inputs[0].dtype}")
    height, width = (side or crop for side in shape[1:3])
    if not (height and width):
        raise InvalidRequestError("the model takes pictures of any size: choose one with --crop")
    if crop and (height, width) != (crop, crop):
        raise InvalidRequestError(
            f"--crop must give the model's input, {height} x {width}, not {crop} x {crop}"
        )
    return InputSpec(height, width, shape[3], resize or crop)


def output_classes(model: Any) -> int:
    """Return the number of scores a picture; InvalidRequestError (UNSUPPORTED_MODEL) when unfit."""
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        raise _unsupported(f"the model has {len(outputs)} outputs; it must have one")
    shape = tuple(outputs[0].shape)
    if len(shape) != 2 or not shape[1]:
        raise _unsupported(f"the model's output must be (None, classes), not {shape}")
    if outputs[0].dtype not in _OUTPUT_TYPES:
        raise _unsupported(f"the model's output must be floating-point, not {outputs[0].dtype}")
    return int(shape[1])


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    first = next(iter(text.strip().splitlines()), type(error).__name__)
    if "Could not locate" in text or "register_keras_serializable" in text:
        return f"{path} needs classes that are not part of Keras: {first}"
    if "safe_mode" in text or "lambda" in text.lower():
        return f"{path} holds code of its own (a Lambda layer), which is never run"
    return f"Keras cannot load {path}: {first}"


def _unsupported(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="UNSUPPORTED_MODEL")
