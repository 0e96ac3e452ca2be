"""The file of API keys, which the gateway reads and `facet keys` writes.

    {"keys": [{"id": "...", "sha256": "<hex>", "tenant": "...", "scopes": ["recognise"],
               "expires": "2027-01-31T00:00:00+00:00", "note": "..."}]}

`expires` and `note` may be missing. The order is that in which the keys were made.
"""

import json
import os
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError

from services.common.credentials.api_keys import ID_DIGITS, ApiKey
from services.common.credentials.scopes import Scope
from services.common.errors import ConfigurationError

MODE: Final = 0o600
"""Of a new file: hashes are no secrets, but nobody else needs to know who has keys."""

_Id = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{ID_DIGITS}}}$")]
_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
_Tenant = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: _Id
    sha256: _Sha256
    tenant: _Tenant
    scopes: list[Scope]
    expires: AwareDatetime | None = None
    note: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    keys: list[_Key]


def parse_keys(data: bytes) -> dict[str, ApiKey]:
    """Return the keys of a file's content, by id; ConfigurationError says what is wrong."""
    try:
        found = _File.model_validate_json(data).keys
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(f"no list of API keys: {where}: {first['msg']}") from None
    keys = {
        key.id: ApiKey(
            key.id,
            bytes.fromhex(key.sha256),
            key.tenant,
            frozenset(key.scopes),
            key.expires,
            key.note,
        )
        for key in found
    }
    if len(keys) < len(found):
        raise ConfigurationError("no list of API keys: two have the same id")
    return keys


def read_keys(path: Path) -> dict[str, ApiKey]:
    """Return the keys of a file, by id; ConfigurationError where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return parse_keys(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from None


def write_keys(path: Path, keys: Iterable[ApiKey]) -> None:
    """Replace a file of keys; readers see the old one or the new one, whole.

    Who may read an existing file may read the new one. Raises ConfigurationError.
    """
    content = json.dumps({"keys": [_as_dict(key) for key in keys]}, indent=2) + "\n"
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else MODE
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _as_dict(key: ApiKey) -> dict[str, object]:
    expires: datetime | None = key.expires
    return {
        "id": key.id,
        "sha256": key.sha256.hex(),
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        **({"expires": expires.isoformat()} if expires else {}),
        **({"note": key.note} if key.note else {}),
    }
