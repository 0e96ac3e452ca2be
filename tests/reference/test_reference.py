"""The configuration reference tells all that can be set, and tells it as it is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field, SecretStr
from typer.testing import CliRunner

from facet.cli.app import app
from facet.launcher.plan import MODULES
from facet.reference.markdown import to_markdown
from facet.reference.sections import SETTINGS, Section, all_sections, service_variables
from facet.reference.variable import Variable, variable_of_option, variables_of
from services.common.settings import CommonSettings, ServiceSettings
from tests.conftest import ROOT

INTERNAL = {"FACET_MEMBER_THREADS"}
"""What one process of Facet tells another that it starts."""


class Samples(CommonSettings):
    home: Path = Path("/elsewhere")
    """Another default."""
    token: SecretStr | None = None
    """A
    secret."""
    wait_ms: float = Field(default=0.5, gt=0, le=10)
    mode: Literal["", "fast", "slow"] = ""
    files: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def sections() -> list[Section]:
    return all_sections(typer.main.get_command(app))


def named_in_code() -> Iterator[str]:
    for package in ("facet", "gateway", "services"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Constant(value=str(text)) if re.fullmatch(r"FACET_[A-Z_]+[A-Z]", text):
                        yield text


def settings_read_by(module: str) -> str:
    """The name of the class that a service's main hands to run_service."""
    folder = ROOT.joinpath(*module.split("."))
    path = folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")
    (name,) = (
        settings.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "run_service"
        for settings in node.args[1:2]
        if isinstance(settings, ast.Name)
    )
    return name


def test_the_page_is_that_of_the_code(sections: list[Section]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == to_markdown(sections), "run `make reference`"


def test_every_variable_has_a_meaning(sections: list[Section]) -> None:
    meanings = {entry.name: entry.meaning for section in sections for entry in section.variables}
    assert [name for name, meaning in meanings.items() if not meaning] == []


def test_each_service_is_told_by_what_it_reads() -> None:
    modules = {**MODULES, "training-worker": "services.training.distributed.worker"}
    assert {service: kind.__name__ for service, kind in SETTINGS.items()} == {
        service: settings_read_by(module) for service, module in modules.items()
    }


def test_no_variable_is_kept_quiet(sections: list[Section]) -> None:
    told = {entry.name for section in sections for entry in section.variables}
    assert set(named_in_code()) - told == INTERNAL


def test_a_field_is_told_with_unit_range_default_and_meaning() -> None:
    assert variables_of(Samples) == [
        Variable("FACET_HOME", "path", "/elsewhere", "Another default.", "home"),
        Variable("FACET_TOKEN", "text, secret", "", "A secret.", "token"),
        Variable("FACET_WAIT_MS", "milliseconds above 0, to 10", "0.5", "", "wait_ms"),
        Variable("FACET_MODE", "one of fast, slow", "", "", "mode"),
        Variable("FACET_FILES", "text", "()", "", "files"),
    ]


def test_an_option_is_told_where_it_has_a_variable() -> None:
    small = typer.Typer()

    @small.command()
    def run(
        speed: Annotated[int, typer.Option(envvar="FACET_SPEED", help="How\nfast.")] = 3,
    ) -> None: ...

    (option, *_) = typer.main.get_command(small).params
    assert isinstance(option, typer.core.TyperOption)
    expected = Variable("FACET_SPEED", "integer", "3", "How fast.")
    assert variable_of_option("FACET_SPEED", option) == expected


def test_what_a_service_declares_anew_is_told_once() -> None:
    names = [entry.name for entry in service_variables("gateway")]
    assert len(names) == len(set(names))
    assert {"FACET_HOME", "FACET_DRAIN_S", "FACET_MAX_IMAGES"} <= set(names)
    (port,) = (entry for entry in service_variables("gateway") if entry.name == "FACET_PORT")
    assert port.default == "50051"
    assert service_variables("scheduler") == [
        *variables_of(CommonSettings),
        *variables_of(ServiceSettings),
    ]


def test_the_command_tells_what_is_in_force_but_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_CONSUL_TOKEN", "hunter2")
    monkeypatch.setenv("FACET_DRAIN_S", "2.5")
    shown = CliRunner().invoke(app, ["settings", "scheduler", "--values"])
    assert shown.exit_code == 0, shown.output
    assert "hunter2" not in shown.output
    assert re.search(r"FACET_CONSUL_TOKEN +\*+ +environment", shown.output)
    assert re.search(r"FACET_DRAIN_S +2\.5 +environment", shown.output)
    assert re.search(r"FACET_LOG_LEVEL +info +default", shown.output)


@pytest.mark.parametrize("arguments", [[], ["inference"], ["--markdown"]])
def test_the_command_tells_what_can_be_set(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, ["settings", *arguments])
    assert shown.exit_code == 0, shown.output
    for name in ("FACET_HOME", "FACET_LOG_LEVEL", "FACET_ENGINE"):
        assert name in shown.output
