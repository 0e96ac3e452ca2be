"""A user's own network, and all that can be wrong with one."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import InvalidRequestError
from services.training.networks.building import build

SHAPE = (12, 12, 1)
NUMBERS = itertools.count()

GOOD = """
import keras

def net(shape, classes):
    return keras.Sequential([
        keras.Input(shape),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module into the current folder and return its name, which no other test uses."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def written(text: str) -> str:
        name = f"own_network_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield written
    for name in set(sys.modules) - before:
        if name.startswith("own_network_"):
            del sys.modules[name]


def refused(name: str) -> str:
    with pytest.raises(InvalidRequestError) as raised:
        build(name, SHAPE, 4)
    assert raised.value.reason == "INVALID_NETWORK"
    return raised.value.message


def test_a_function_in_the_current_folder_is_called(write: Callable[[str], str]) -> None:
    path = list(sys.path)
    model = build(f"{write(GOOD)}:net", SHAPE, 4)
    assert model.output_shape == (None, 4)
    assert sys.path == path


def test_it_may_lie_in_a_package(write: Callable[[str], str], tmp_path: Path) -> None:
    package = tmp_path / f"own_network_{next(NUMBERS)}"
    package.mkdir()
    (package / "small.py").write_text(GOOD)
    assert build(f"{package.name}.small:net", SHAPE, 2).output_shape == (None, 2)
    assert "there is no module" in refused(f"{package.name}.large:net")


@pytest.mark.parametrize("name", ["a b:net", ":net", "module:", "module:a.b", "../net:net"])
def test_names_that_are_none_are_refused(name: str) -> None:
    assert "is named module:function" in refused(name)


def test_a_missing_module_or_function_is_named(write: Callable[[str], str], tmp_path: Path) -> None:
    assert refused("no_such_net:net") == f"there is no module 'no_such_net' in {tmp_path}"
    module = write(GOOD)
    assert refused(f"{module}:nit") == f"the module {module!r} has no function called 'nit'"
    assert "not a function, called 'keras'" in refused(f"{module}:keras")


def test_a_module_that_cannot_be_imported_is_named_with_the_place(
    write: Callable[[str], str], tmp_path: Path
) -> None:
    module = write("import keras\nshape = 1 / 0\n")
    message = refused(f"{module}:net")
    assert message.endswith(f"{tmp_path / module}.py, line 2: ZeroDivisionError: division by zero")
    module = write("def net(shape, classes:\n")
    assert f"{tmp_path / module}.py, line 1: '(' was never closed" in refused(f"{module}:net")
    assert "No module named 'no_such_thing'" in refused(f"{write('import no_such_thing')}:net")


def test_an_exception_is_named_with_its_place(write: Callable[[str], str], tmp_path: Path) -> None:
    module = write(
        "import keras\n\ndef net(shape, classes):\n    return keras.layers.Dense(-classes)\n"
    )
    message = refused(f"{module}:net")
    assert message.startswith(f"{module}:net failed: {tmp_path / module}.py, line 4: ValueError: ")


@pytest.mark.parametrize("parameters", ["", "shape", "shape, classes, depth", "*, shape, classes"])
def test_another_signature_is_refused(write: Callable[[str], str], parameters: str) -> None:
    module = write(f"def net({parameters}):\n    return None\n")
    assert f"{module}:net must take (shape, classes): " in refused(f"{module}:net")


LAYERS = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, values):
        return values

def net(shape, classes):
    images = keras.Input({shape})
    layer = keras.layers.Flatten()(images)
    return {result}
"""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"result": "None"}, "must return a keras.Model, not NoneType"),
        ({"result": "layer"}, "must return a keras.Model, not KerasTensor"),
        ({"shape": "(9, 9, 1)"}, "must take pictures (None, 12, 12, 1), not [(None, 9, 9, 1)]"),
        ({"last": "Dense(5)"}, "must give 4 classes, not 5"),
        ({"last": "Reshape((12, 12))"}, "output must be (None, classes), not (None, 12, 12)"),
        ({"last": "Dense(classes)"}, "let its last layer have the activation 'softmax'"),
        ({"last": "Dense(classes, activation='sigmoid')"}, "shares of 0 to 1 that add up to 1"),
        (
            {"result": "keras.Model(images, keras.layers.Dense(4)(Doubled()(layer)))"},
            "has a layer of the kind Doubled, which a shard could not load",
        ),
        ({"last": "Lambda(lambda x: x[:, :4])"}, "a layer of the kind Lambda"),
        (
            {"result": "keras.Sequential([images, keras.Sequential([Doubled()])])"},
            "output must be (None, classes)",
        ),
    ],
)
def test_what_is_no_such_model_is_refused(
    write: Callable[[str], str], changes: dict[str, Any], says: str
) -> None:
    last = changes.pop("last", "Dense(classes, activation='softmax')")
    parts = {"shape": "shape", "result": f"keras.Model(images, keras.layers.{last}(layer))"}
    module = write(LAYERS.format(**parts | changes))
    message = refused(f"{module}:net")
    assert message.startswith(f"{module}:net")
    assert says in message
