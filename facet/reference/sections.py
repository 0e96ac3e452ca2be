"""Who reads which variables: the services by their settings, commands by their options."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_settings import BaseSettings
from typer.core import TyperGroup, TyperOption

from facet.client.credentials import ClientSettings
from facet.reference.variable import Variable, variable_of_option, variables_of
from gateway.settings import GatewaySettings
from services.common.settings import CommonSettings, ServiceSettings
from services.inference.settings import InferenceSettings
from services.preprocessing.settings import PreprocessingSettings
from services.training.distributed.worker import TrainingWorkerSettings

SETTINGS: Final[Mapping[str, type[ServiceSettings]]] = {
    "gateway": GatewaySettings,
    "preprocessing": PreprocessingSettings,
    "scheduler": ServiceSettings,
    "aggregation": ServiceSettings,
    "inference": InferenceSettings,
    "training-worker": TrainingWorkerSettings,
}
"""Service → the settings that its process reads."""

SHARED: Final[Mapping[str, type[BaseSettings]]] = {
    "Every process and command": CommonSettings,
    "Every service": ServiceSettings,
}


@dataclass(frozen=True, slots=True)
class Section:
    """Variables that are read by the same ones."""

    title: str
    variables: tuple[Variable, ...]


DEVELOPMENT: Final = (
    Variable(
        "FACET_TEST_DATA", "path", "../shared/data", "Folder of test data; tests, benchmarks, demo."
    ),
    Variable(
        "FACET_REQUIRE",
        "text",
        "",
        "What tests fail without instead of being skipped, such as consul,data.",
    ),
    Variable(
        "FACET_TOOLS", "path", "~/.cache/facet/tools", "Where `make consul` puts what it builds."
    ),
)


def all_sections(command: Any) -> list[Section]:
    """Return everything that can be set, each variable where it is declared.

    `command` is the whole command line, whose options may have variables.
    """
    shared = [Section(title, tuple(variables_of(kind))) for title, kind in SHARED.items()]
    own = [
        Section(service, tuple(variables_of(kind)))
        for service, kind in SETTINGS.items()
        if kind not in SHARED.values()
    ]
    commands = Section("Commands", tuple(_options(command)))
    clients = Section("Clients", tuple(variables_of(ClientSettings)))
    return [*shared, *own, clients, commands, Section("Development", DEVELOPMENT)]


def service_variables(service: str) -> list[Variable]:
    """Return all that a service reads; what it declares anew takes the place of what all have."""
    found: dict[str, Variable] = {}
    for kind in reversed(SETTINGS[service].__mro__):
        if issubclass(kind, BaseSettings) and kind is not BaseSettings:
            found |= {variable.name: variable for variable in variables_of(kind)}
    return list(found.values())


def _options(command: Any) -> list[Variable]:
    """Return the variables of options, once each, and which commands have them."""
    found: dict[str, tuple[Variable, str]] = {}
    users: dict[str, list[str]] = {}
    for words, option in _walk(command, ()):
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
        for name in names:
            found.setdefault(name, (variable_of_option(name, option), option.opts[0]))
            users.setdefault(name, []).append(f"`{' '.join(words)}`")
    return [
        replace(variable, meaning=f"{variable.meaning} `{flag}` of {', '.join(users[name])}.")
        for name, (variable, flag) in found.items()
    ]


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TyperOption]]:
    """Yield all options of a command and of those below it, with the words that lead there."""
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _walk(below, (*words, name))
        return
    for option in command.params:
        if isinstance(option, TyperOption):
            yield words, option
