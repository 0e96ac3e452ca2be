"""API keys: what is kept, who is let in, and the file."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.door.keys import KeyRing
from services.common.credentials.api_keys import ApiKey, id_of, new_key
from services.common.credentials.key_file import parse_keys, read_keys, write_keys
from services.common.credentials.scopes import Scope
from services.common.errors import ConfigurationError


def ring(*keys: ApiKey) -> KeyRing:
    """A ring of these."""
    ring = KeyRing()
    ring.use({key.id: key for key in keys})
    return ring


def test_a_key_has_256_random_bits_of_which_only_the_hash_is_kept() -> None:
    text, key = new_key("acme", [Scope.RECOGNISE])
    prefix, key_id, secret = text.split("_", 2)
    assert (prefix, key_id) == ("facet", key.id)
    assert len(secret) == 43  # base64 of 32 bytes
    assert key.sha256 == hashlib.sha256(text.encode()).digest()
    assert secret not in repr(key)
    assert text != new_key("acme", [Scope.RECOGNISE])[0]


def test_only_the_whole_key_opens() -> None:
    text, key = new_key("acme", [Scope.ADMIN])
    other, _ = new_key("acme", [Scope.ADMIN])
    keys = ring(key)
    caller = keys.find(text.encode())
    assert caller is not None
    assert (caller.tenant, caller.scopes) == ("acme", frozenset({Scope.ADMIN}))
    assert id_of(text.encode()) == key.id
    for wrong in (other, text[:-1], text + "x", text.upper(), f"facet_{key.id}_", key.id, "", "é"):
        assert keys.find(wrong.encode()) is None
    assert keys.find(key.sha256.hex().encode()) is None
    assert KeyRing().find(text.encode()) is None


def test_who_calls_by_a_key_that_is_gone_or_changed_is_revoked() -> None:
    texts, kept = zip(*(new_key("acme", [Scope.ADMIN]) for _ in range(3)), strict=True)
    keys = ring(*kept)
    same, changed, gone = callers = [keys.find(text.encode()) for text in texts]
    assert same is not None
    assert changed is not None
    assert gone is not None
    less = replace(kept[1], scopes=frozenset())
    keys.use({kept[0].id: kept[0], less.id: less})
    assert [caller is not None and caller.revoked for caller in callers] == [False, True, True]
    assert keys.find(texts[0].encode()) is same
    now = keys.find(texts[1].encode())
    assert now is not None
    assert (now.scopes, now.revoked) == (frozenset(), False)
    assert keys.find(texts[2].encode()) is None


def test_a_file_keeps_keys_and_who_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = [
        new_key("acme", [Scope.RECOGNISE, Scope.ADMIN], datetime(2030, 1, 2, tzinfo=UTC), "x")[1],
        new_key("ümlaut", [])[1],
    ]
    write_keys(file, keys)
    assert list(read_keys(file).values()) == keys
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    write_keys(file, keys[:1])
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"keys\.json cannot be read"):
        read_keys(tmp_path / "keys.json")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_keys(tmp_path / "nowhere" / "keys.json", [])


GOOD: dict[str, Any] = {"id": "0" * 12, "sha256": "0" * 64, "tenant": "t", "scopes": []}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file"),
        (b"{}", "keys: Field required"),
        (json.dumps({"keys": [{**GOOD, "id": "x"}]}).encode(), r"keys\.0\.id"),
        (json.dumps({"keys": [{**GOOD, "sha256": "secret"}]}).encode(), r"keys\.0\.sha256"),
        (json.dumps({"keys": [{**GOOD, "tenant": ""}]}).encode(), r"keys\.0\.tenant"),
        (json.dumps({"keys": [{**GOOD, "scopes": ["all"]}]}).encode(), r"keys\.0\.scopes"),
        (json.dumps({"keys": [{**GOOD, "expires": "2030-01-01T00:00:00"}]}).encode(), "expires"),
        (json.dumps({"keys": [{**GOOD, "key": "facet_secret"}]}).encode(), r"keys\.0\.key"),
        (json.dumps({"keys": [GOOD, GOOD]}).encode(), "same id"),
    ],
)
def test_broken_files_are_told_without_their_content(data: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as raised:
        parse_keys(data)
    assert "secret" not in raised.value.message
