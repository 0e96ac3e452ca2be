"""`facet keys`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facet.cli.app import app
from facet.client.credentials import find_api_key
from services.common.credentials.api_keys import digest
from services.common.credentials.key_file import read_keys
from services.common.credentials.scopes import Scope
from services.common.errors import ConfigurationError

RUNNER = CliRunner()


def new(file: Path, *options: str) -> str:
    """Make a key; return it."""
    result = RUNNER.invoke(app, ["keys", "new", *options, str(file)])
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_key_is_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    scopes = ("--scope", "recognise", "--scope", "admin")
    first = new(file, "--tenant", "acme", *scopes, "--days", "30", "--note", "of the web site")
    second = new(file, "--tenant", "other", "--scope", "recognise")
    kept = list(read_keys(file).values())
    assert [key.sha256 for key in kept] == [digest(first.encode()), digest(second.encode())]
    assert [(key.tenant, key.scopes) for key in kept] == [
        ("acme", frozenset(Scope)),
        ("other", frozenset({Scope.RECOGNISE})),
    ]
    assert kept[0].expires is not None
    assert abs(kept[0].expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=10)

    as_json = RUNNER.invoke(app, ["keys", "list", "--json", str(file)]).stdout
    assert [each["id"] for each in json.loads(as_json)] == [key.id for key in kept]
    table = RUNNER.invoke(app, ["keys", "list", str(file)]).stdout
    assert "of the web site" in table
    for text in (as_json, table, file.read_text()):
        assert first[19:] not in text
        assert second[19:] not in text
    for text in (as_json, table):
        assert kept[0].sha256.hex() not in text

    assert RUNNER.invoke(app, ["keys", "revoke", str(file), kept[0].id]).exit_code == 0
    assert list(read_keys(file)) == [kept[1].id]
    again = RUNNER.invoke(app, ["keys", "revoke", str(file), kept[0].id])
    assert isinstance(again.exception, ConfigurationError)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--tenant", "t"),
        ("--tenant", "t", "--scope", "all"),
        ("--tenant", "", "--scope", "admin"),
        ("--tenant", "t", "--scope", "admin", "--days", "0"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    file = tmp_path / "keys.json"
    assert RUNNER.invoke(app, ["keys", "new", *options, str(file)]).exit_code == 2
    assert not file.exists()


def test_where_a_client_finds_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACET_API_KEY", "FACET_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert find_api_key() is None
    monkeypatch.setenv("FACET_API_KEY", "facet_environment")
    key = find_api_key()
    assert key is not None
    assert (key.get_secret_value(), "environment" in repr(key)) == ("facet_environment", False)
    file = tmp_path / "key"
    file.write_text("facet_file\nof somebody\n")
    key = find_api_key(file)
    assert key is not None
    assert key.get_secret_value() == "facet_file"
    for content in (b"", b"\n", b"\xff", b"a\0b"):
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match="no API key in its first line"):
            find_api_key(file)
