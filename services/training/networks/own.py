"""A user's own network: `module:function(shape, classes) -> keras.Model`.

The module is found in the current folder, or wherever Python finds modules. What is wrong with it
is said before the training begins, not after hours of it.
"""

import contextlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import keras
import numpy as np

from services.common.errors import FacetError, InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.training import parity
from services.training.intake.keras_files import output_classes

_NAME: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def build(name: str, shape: tuple[int, int, int], classes: int) -> Any:
    """Return the untrained model that a user's function gives for pictures of that shape.

    Raises InvalidRequestError (INVALID_NETWORK), with the place in the user's file, when there is
    no such function, when it raises, or when it returns anything but a model from float32
    [n, *shape] to shares [n, classes] made of Keras's own layers.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise _invalid(f"a network of your own is named module:function, not {name!r}")
    with _current_folder():
        module = _import(found[1])
        function = _function(module, found[2], name)
        try:
            model = function(shape, classes)
        except FacetError:
            raise
        except Exception as error:  # it is the user's code
            raise _invalid(f"{name} failed: {_place(error, module)}") from error
    _check(model, name, shape, classes)
    return model


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules be found in the current folder, as `python -m` does."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _import(name: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _invalid(f"there is no module {name!r} in {os.getcwd()}") from error
        raise _invalid(f"the module {name!r} cannot be imported: {error}") from error
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}: {error.msg}"
        raise _invalid(f"the module {name!r} cannot be imported: {place}") from error
    except Exception as error:  # it is the user's code
        raise _invalid(f"the module {name!r} cannot be imported: {_place(error, None)}") from error


def _function(module: ModuleType, function: str, name: str) -> Callable[..., Any]:
    there: Callable[..., Any] | None = getattr(module, function, None)
    if there is None or not callable(there):
        what = "no function" if there is None else "something else, not a function,"
        raise _invalid(f"the module {module.__name__!r} has {what} called {function!r}")
    try:
        inspect.signature(there).bind((1, 1, 1), 1)
    except (TypeError, ValueError) as error:
        raise _invalid(f"{name} must take (shape, classes): {error}") from error
    return there


def _check(model: Any, name: str, shape: tuple[int, int, int], classes: int) -> None:
    if not isinstance(model, keras.Model):
        raise _invalid(f"{name} must return a keras.Model, not {type(model).__name__}")
    taken = [tuple(each.shape) for each in getattr(model, "inputs", None) or []]
    if taken != [(None, *shape)]:
        raise _invalid(f"{name} must take pictures (None, {_sizes(shape)}), not {taken}")
    try:
        given = output_classes(model)
    except InvalidRequestError as error:
        raise _invalid(f"{name}: {error.message}") from error
    if given != classes:
        raise _invalid(f"{name} must give {classes} classes, not {given}")
    _check_layers(model, name)
    pictures = parity.probe_images(InputSpec(*shape)).astype(np.float32) / 255
    shares = np.asarray(model(pictures, training=False), np.float32)
    if not (shares.min() >= 0 and np.allclose(shares.sum(axis=1), 1, atol=1e-3)):
        raise _invalid(
            f"{name} must give shares of 0 to 1 that add up to 1: "
            "let its last layer have the activation 'softmax'"
        )


def _check_layers(model: Any, name: str) -> None:
    """Refuse layers that a shard could not load, as it never runs code out of a model's file."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _check_layers(layer, name)
        kind = type(layer)
        is_kerass = kind.__module__.partition(".")[0] == "keras"
        if not is_kerass or isinstance(layer, keras.layers.Lambda):
            raise _invalid(
                f"{name} has a layer of the kind {kind.__name__}, which a shard could not load: "
                "use Keras's own layers"
            )


def _place(error: BaseException, module: ModuleType | None) -> str:
    """Say what was raised and where in the user's module, or in the deepest frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if module and frame.filename == module.__file__] or frames
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{own[-1].filename}, line {own[-1].lineno}: {type(error).__name__}: {first}"


def _sizes(shape: tuple[int, int, int]) -> str:
    return ", ".join(map(str, shape))


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="INVALID_NETWORK")
