"""How commands reach a gateway: its address, certificates where it speaks TLS, and a key."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_type_hints

import typer

from facet.client.connection import Gateway

Command = TypeVar("Command", bound=Callable[..., None])

_OPTIONS: Final = {
    "tls_ca": Annotated[
        Path | None,
        typer.Option(envvar="FACET_TLS_CA", help="PEM file of the gateway's authority: use TLS."),
    ],
    "tls_cert": Annotated[
        Path | None,
        typer.Option(envvar="FACET_TLS_CERT", help="PEM file of your own certificate."),
    ],
    "tls_key": Annotated[
        Path | None, typer.Option(envvar="FACET_TLS_KEY", help="PEM file of its key.")
    ],
    "api_key_file": Annotated[
        Path | None,
        typer.Option(
            envvar="FACET_API_KEY_FILE",
            help="File with the API key for the gateway; else the key is that in FACET_API_KEY.",
        ),
    ],
}


def calls_gateway(command: Command) -> Command:
    """Give a command the options that make its argument `gateway`.

    That is declared as a Gateway with a typer.Option for its address.
    """
    signature = inspect.signature(command)
    _, option = get_args(get_type_hints(command, include_extras=True)["gateway"])
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name == "gateway":
            address = parameter.default.address
            parameter = parameter.replace(annotation=Annotated[str, option], default=address)
        parameters.append(parameter)
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(*arguments: Any, gateway: str, **options: Any) -> None:
        how = {name: options.pop(name) for name in _OPTIONS}
        command(*arguments, gateway=Gateway(gateway, **how), **options)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run  # type: ignore[return-value]
