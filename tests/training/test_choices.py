"""Options and configuration files."""

from pathlib import Path

import pytest

from services.common.errors import InvalidRequestError
from services.training.choices import Choices, read_config
from services.training.data.loading import DataOptions
from services.training.recommended import recommended
from services.training.settings import TrainingSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "training.toml"


def refused(path: Path) -> str:
    with pytest.raises(InvalidRequestError) as raised:
        read_config(path)
    assert raised.value.reason == "INVALID_CONFIG"
    assert str(path) in raised.value.message
    return raised.value.message


def test_a_file_chooses_settings_and_data(file: Path) -> None:
    file.write_text('model = "resnet"\nepochs = 7\nlearning_rate = 1\nflip = true\nimage_size = 32')
    chosen = read_config(file)
    assert chosen.settings_for("pictures") == TrainingSettings(
        architecture="resnet", epochs=7, batch_size=32, learning_rate=1, flip=True
    )
    assert chosen.data_options() == DataOptions(image_size=32)


def test_options_win_over_the_file(file: Path) -> None:
    file.write_text('model = "rnn"\nepochs = 7\nseed = 3\nflip = true\nchannels = 1')
    flags = Choices.given(architecture="cnn", epochs=None, seed=0, flip=False, channels=3)
    chosen = flags.over(read_config(file))
    settings = chosen.settings_for("digits")
    assert (settings.architecture, settings.epochs, settings.seed) == ("cnn", 7, 0)
    assert settings.flip is False
    assert chosen.data_options().channels == 3


def test_what_nobody_chose_suits_the_data() -> None:
    for data in ("digits", "mnist", "some/folder"):
        for architecture in ("cnn", "rnn", "resnet", "my.module:net"):
            chosen = Choices.given(architecture=architecture, seed=5).settings_for(data)
            assert chosen.seed == 5
            assert chosen.learning_rate == recommended(data, architecture).learning_rate
    # A mirrored digit is none.
    assert not recommended("digits", "cnn").flip
    assert not recommended("mnist", "cnn").flip
    assert recommended("digits", "cnn") == TrainingSettings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", "there is no 'epoch'; there is batch_size, channels, contrast"),
        ('architecture = "cnn"', "there is no 'architecture'"),
        ('epochs = "3"', "epochs must be a whole number, not '3'"),
        ("epochs = 3.5", "epochs must be a whole number, not 3.5"),
        ("epochs = true", "epochs must be a whole number, not True"),
        ("learning_rate = false", "learning_rate must be a number, not False"),
        ("flip = 1", "flip must be true or false, not 1"),
        ("model = 1", "model must be a text, not 1"),
        ("[epochs]\nfirst = 1", "epochs must be a whole number, not {'first': 1}"),
        ("epochs = ", "is not TOML: "),
        ("epochs = 1\nepochs = 2", "is not TOML: "),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    assert says in refused(file)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    assert "No such file" in refused(file)
    file.write_bytes(b"model = '\xff'")
    assert "is not TOML" in refused(file)
    assert "Is a directory" in refused(file.parent)


def test_senseless_numbers_are_refused_wherever_they_come_from(file: Path) -> None:
    file.write_text("rotation = 400")
    with pytest.raises(InvalidRequestError, match="0 to 180 degrees, not 400"):
        read_config(file).settings_for("digits")
