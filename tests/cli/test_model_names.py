import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from facet.cli.model_names import ModelName, parse_model, parse_version

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,9}", fullmatch=True)


@given(NAMES, st.integers(1, 10**9))
def test_a_version_is_named_by_its_number(name: str, version: int) -> None:
    assert parse_model(f"{name}:{version}") == ModelName(name, version=version)
    assert parse_version(f"{name}:{version}") == (name, version)


@given(NAMES, NAMES)
def test_a_version_is_named_by_its_label(name: str, label: str) -> None:
    assert parse_model(f"{name}@{label}") == ModelName(name, label=label)
    assert parse_model(name) == ModelName(name)


@pytest.mark.parametrize(
    "text", ["", ":1", "@x", "a:", "a@", "a:0", "a:x", "a:-1", "a:²", "a:1@x", "a@x:1", "a@x@y"]
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="NAME, NAME:VERSION or NAME@LABEL"):
        parse_model(text)


@pytest.mark.parametrize("text", ["a", "a@x"])
def test_where_a_version_is_needed_it_is_asked_for(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="say which version"):
        parse_version(text)
