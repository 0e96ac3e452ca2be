"""JSON Web Tokens (RFC 7519) → callers.

A token is verified once; what came out is remembered until it expires. So a client that sends
the same one with every call costs a hash and a look into a table.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from gateway.door.caller import Caller
from gateway.door.token_keys import TokenKey
from services.common.credentials.scopes import Scope
from services.common.errors import UnauthenticatedError

REMEMBERED: Final = 10_000
"""Tokens; beyond, the one that was verified first is verified again."""
LEEWAY_S: Final = 30.0
"""Seconds by which the clocks of the issuer and of this machine may differ."""
MAX_TENANT: Final = 128
"""Letters."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken."""

    name: str
    """The claim `iss`."""
    audience: str
    """The claim `aud` has it: a token for another service opens nothing here."""
    tenant_claim: str = "tenant"


class Tokens:
    """Verifies tokens by the keys that are good at present."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._keys: Sequence[TokenKey] = ()
        self._known: dict[bytes, Caller] = {}
        """SHA-256 of a token → who calls by it; the token itself is not kept."""

    def use(self, keys: Sequence[TokenKey]) -> None:
        """Know these keys and no others; every token is verified again, and its streams end."""
        self._keys = keys
        for caller in self._known.values():
            caller.revoked = True
        self._known = {}

    def find(self, token: bytes) -> Caller:
        """Return who calls by a token, even where it has expired since it was verified.

        Raises UnauthenticatedError (CREDENTIALS_INVALID, CREDENTIALS_EXPIRED).
        """
        name = hashlib.sha256(token).digest()
        caller = self._known.get(name)
        if caller is None:
            caller = self._known[name] = self._verified(token)
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
        return caller

    def _verified(self, token: bytes) -> Caller:
        try:
            return self._caller(self._claims(token))
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError(
                "the token has expired", reason="CREDENTIALS_EXPIRED"
            ) from None
        # The only broad one: hostile text goes through parsers here, and none of what they raise
        # may reach the connection, or quote the token in a log.
        except Exception:
            raise UnauthenticatedError("the token is not one that this gateway takes") from None

    def _claims(self, token: bytes) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        fit = [
            key
            for key in self._keys
            if key.algorithm == header["alg"] and key.id in (None, header.get("kid", key.id))
        ]
        failure: Exception = jwt.InvalidKeyError("no key of its kind")
        for key in fit:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm],
                    audience=self._issuer.audience,
                    issuer=self._issuer.name,
                    leeway=LEEWAY_S,
                    options={"require": ["exp", "iss", "aud"]},
                )
            except jwt.InvalidSignatureError as error:
                failure = error  # of several keys without names, another one may be right
            else:
                return claims
        raise failure

    def _caller(self, claims: dict[str, Any]) -> Caller:
        tenant = claims.get(self._issuer.tenant_claim)
        if not isinstance(tenant, str) or not 0 < len(tenant) <= MAX_TENANT:
            raise ValueError("a token of no tenant")
        words = str(claims.get("scope", "")).split()
        scopes = frozenset(scope for scope in Scope if scope in words)
        return Caller(tenant, scopes, float(claims["exp"]) + LEEWAY_S)
