"""API keys: what one looks like, and what is kept of it.

    facet_<id>_<secret>       id: 12 hexadecimal digits; secret: 256 random bits in base64url

Only the SHA-256 of a key is kept. A slow hash, as passwords need it, would add nothing: nobody
can try 2^256 secrets, however fast each try is, and every request would pay for it.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.common.credentials.scopes import Scope

PREFIX: Final = "facet_"
"""By which scanners for lost secrets, and people, know a key."""
ID_DIGITS: Final = 12
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key."""

    id: str
    """Not secret: names the key in the file."""
    sha256: bytes
    """Of the whole key as UTF-8; 32 bytes."""
    tenant: str
    """In whose name it calls, and whose quota it uses."""
    scopes: frozenset[Scope]
    expires: datetime | None = None
    """With a time zone; None: never."""
    note: str = ""
    """For people."""


def new_key(
    tenant: str, scopes: Collection[Scope], expires: datetime | None = None, note: str = ""
) -> tuple[str, ApiKey]:
    """Return a new key, which nobody can ever find out again, and what is to be kept of it."""
    key_id = secrets.token_hex(ID_DIGITS // 2)
    key = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    kept = ApiKey(key_id, digest(key.encode()), tenant, frozenset(scopes), expires, note)
    return key, kept


def digest(key: bytes) -> bytes:
    """Return what is kept in the place of a key."""
    return hashlib.sha256(key).digest()


def id_of(key: bytes) -> str:
    """Return the id of a key; of what is none, some text that names no key."""
    at = len(PREFIX)
    return key[at : at + ID_DIGITS].decode("latin-1")
