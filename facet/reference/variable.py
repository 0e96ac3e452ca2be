"""One environment variable, as a field of a settings class or an option declares it."""

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from typer.core import TyperOption

UNITS: Final = {
    "_bytes": "bytes",
    "_pixels": "pixels",
    "_ms": "milliseconds",
    "_s": "seconds",
    "_days": "days",
}
"""How the name of a number ends → what it counts."""

_PREFIXES: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_NUMBERS: Final[Mapping[Any, str]] = {int: "integer", float: "number"}
_NAMES: Final[Mapping[Any, str]] = {
    bool: "true or false",
    str: "text",
    Path: "path",
    SecretStr: "text, secret",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """What is told of an environment variable."""

    name: str
    """With its prefix: FACET_PORT."""
    values: str
    """Type, unit and range, such as `integer, 0 to 65535`."""
    default: str
    """As it would be written into the environment; empty: there is none."""
    meaning: str
    """A sentence or more, on one line."""
    field: str = ""
    """The field of the settings class; empty where there is none."""


def variables_of(settings_type: type[BaseSettings]) -> list[Variable]:
    """Return the variables that a class itself declares, those of its bases not.

    A field that it declares anew, with another default or meaning, is one of them.
    """
    prefix = settings_type.model_config.get("env_prefix", "")
    meanings = dict(_docstrings(settings_type))
    return [
        Variable(
            f"{prefix}{name}".upper(),
            _values(name, field),
            _default(name, field.default),
            meanings.get(name, ""),
            name,
        )
        for name, field in settings_type.model_fields.items()
        if name in inspect.get_annotations(settings_type)
    ]


def variable_of_option(name: str, option: TyperOption) -> Variable:
    """Return the variable that stands for an option of a command where that is not given."""
    default = option.default
    kind: Any = Path if isinstance(default, Path) else type(default)
    values = _NUMBERS.get(kind) or _NAMES.get(kind, "text")
    text = "" if callable(default) else _default(name, default)
    return Variable(name, values, text, " ".join((option.help or "").split()))


def _docstrings(settings_type: type) -> Iterator[tuple[str, str]]:
    """Yield each field with the string below it.

    Read from the source when somebody asks: pydantic's `use_attribute_docstrings` would make
    every process do it at its start.
    """
    (tree,) = ast.parse(inspect.getsource(settings_type)).body
    assert isinstance(tree, ast.ClassDef)
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, " ".join(text.split())


def _values(name: str, field: FieldInfo) -> str:
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(choice for choice in get_args(kind) if choice is not NoneType)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, filter(None, get_args(kind))))}"
    if kind not in _NUMBERS:
        return _NAMES.get(kind, "text")
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    return " ".join(filter(None, [unit or _NUMBERS[kind], _range(field.metadata)]))


def _range(limits: Sequence[Any]) -> str:
    found = {
        sign: getattr(limit, sign)
        for limit in limits
        for sign in ("ge", "gt", "le", "lt")
        if getattr(limit, sign, None) is not None
    }
    match found:
        case {"ge": low, "le": high}:
            return f"from {low} to {high}"
        case {"ge": low}:
            return f"from {low}"
        case {"gt": low, "le": high}:
            return f"above {low}, to {high}"
        case {"gt": low}:
            return f"above {low}"
        case {"le": high}:
            return f"to {high}"
    return ""


def _default(name: str, value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case int() if name.endswith("_bytes") and value > 0:
            for size, prefix in _PREFIXES:
                if value % size == 0:
                    return f"{value} ({value // size} {prefix})"
    return str(value)
