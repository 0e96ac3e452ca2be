"""`facet models` on a repository of three small versions."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from facet.cli.app import app
from services.common.errors import InvalidRequestError, ModelNotFoundError, ModelRefusedError
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository
from tests.models.contents import write_content


class Command:
    """`facet models` on one repository."""

    def __init__(self, repository: ModelRepository) -> None:
        self.repository = repository

    def __call__(self, *arguments: str) -> str:
        """Run it, raise what it raises, and return what it says to people."""
        done = self._run(*arguments)
        if done.exception is not None:
            raise done.exception
        return " ".join(done.output.split())

    def usage(self, *arguments: str) -> str:
        """Return what it says of a wrong use."""
        done = self._run(*arguments)
        assert done.exit_code == 2
        return " ".join(done.output.replace("│", " ").split())

    def _run(self, *arguments: str) -> Result:
        return CliRunner().invoke(
            app,
            ["models", *arguments, "--models", str(self.repository.root)],
            env={"COLUMNS": "200"},
        )

    def json(self, *arguments: str) -> Any:
        """Return what it says to programs."""
        return json.loads(self(*arguments, "--json"))

    @property
    def releases(self) -> Releases:
        """What is decided now."""
        return self.repository.releases("small")


@pytest.fixture
def models(tmp_path: Path) -> Command:
    repository = ModelRepository(tmp_path / "models")
    for _ in range(3):
        repository.publish("small", write_content)
    return Command(repository)


def test_promoting_says_from_what_to_what(models: Command) -> None:
    assert models("promote", "small:1") == "small: nothing → small:1"
    assert models("promote", "small:2") == "small: small:1 → small:2"
    assert models("promote", "small:2") == "small is small:2 already"
    assert models.releases.promoted == 2


def test_rolling_back(models: Command) -> None:
    models("promote", "small:3")
    models("promote", "small:1")
    assert models("rollback", "small") == "small: small:1 → small:3"
    with pytest.raises(InvalidRequestError, match="no version was promoted before"):
        models("rollback", "small")
    assert models.releases.promoted == 3
    assert "no version" in models.usage("rollback", "small:1")


def test_labels_move_and_are_taken_away(models: Command) -> None:
    assert models("label", "small:1", "canary") == "small@canary: nothing → small:1"
    assert models("label", "small:2", "canary") == "small@canary: small:1 → small:2"
    assert models("label", "small:2", "canary") == "small@canary is small:2 already"
    assert models("unlabel", "small@canary") == "small@canary: small:2 → nothing"
    with pytest.raises(InvalidRequestError, match="no version is labelled 'canary'"):
        models("unlabel", "small@canary")
    assert "say which label" in models.usage("unlabel", "small")
    with pytest.raises(InvalidRequestError, match="a label must be"):
        models("label", "small:1", "Not a label")


def test_retiring_and_undoing_it(models: Command) -> None:
    assert models("retire", "small:3") == "small:3: served → retired"
    assert models("retire", "small:3") == "small:3 is retired already"
    for command in (("promote", "small:3"), ("label", "small:3", "canary")):
        with pytest.raises(InvalidRequestError, match="version 3 is retired"):
            models(*command)
    assert models("retire", "small:3", "--undo") == "small:3: retired → served"
    assert models("retire", "small:3", "--undo") == "small:3 is served already"
    models("promote", "small:3")
    with pytest.raises(InvalidRequestError, match="version 3 is promoted"):
        models("retire", "small:3")
    with pytest.raises(InvalidRequestError, match="version 3 is promoted"):
        models("remove", "small:3")


@pytest.mark.parametrize("command", [["promote", "small:9"], ["label", "small:9", "canary"]])
def test_what_is_not_there_changes_nothing(models: Command, command: list[str]) -> None:
    with pytest.raises(ModelNotFoundError, match="no version 9 of model 'small'"):
        models(*command)
    with pytest.raises(ModelNotFoundError, match="no version 9"):
        models("retire", "small:9")
    assert models.releases == Releases()


@pytest.mark.parametrize("command", [["promote", "small:2"], ["label", "small:2", "canary"]])
def test_what_is_not_whole_changes_nothing(models: Command, command: list[str]) -> None:
    (models.repository.root / "small" / "2" / "golden.npz").write_bytes(b"torn")
    with pytest.raises(ModelRefusedError, match=r"golden\.npz has 4 bytes"):
        models(*command)
    assert models.releases == Releases()


def test_rolling_back_to_what_is_not_whole_changes_nothing(models: Command) -> None:
    models("promote", "small:2")
    models("promote", "small:3")
    (models.repository.root / "small" / "2" / "model.litert").unlink()
    with pytest.raises(ModelRefusedError, match=r"model\.litert cannot be read"):
        models("rollback", "small")
    assert models.releases.promoted == 3


def test_a_list_tells_what_was_decided(models: Command) -> None:
    models("promote", "small:1")
    models("label", "small:1", "stable")
    models("label", "small:2", "canary")
    models("retire", "small:3")
    assert [version["release"] for version in models.json("list")] == [
        {"promoted": True, "labels": ["stable"], "retired": False},
        {"promoted": False, "labels": ["canary"], "retired": False},
        {"promoted": False, "labels": [], "retired": True},
    ]
    assert "promoted @stable" in models("list")


def test_the_promoted_version_is_shown(models: Command) -> None:
    assert models.json("show", "small")["version"] == 3
    models("retire", "small:3")
    assert models.json("show", "small")["version"] == 2
    models("promote", "small:1")
    models("label", "small:2", "canary")
    shown = models.json("show", "small")
    assert (shown["version"], shown["release"]["promoted"]) == (1, True)
    assert models.json("show", "small@canary")["version"] == 2
    assert models.json("show", "small:3")["release"]["retired"]
    with pytest.raises(ModelNotFoundError, match="no version of model 'small' is labelled 'x'"):
        models("show", "small@x")
    with pytest.raises(ModelNotFoundError, match="no model 'other'"):
        models("show", "other")
