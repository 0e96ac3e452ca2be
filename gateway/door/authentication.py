"""Looks at every call before its request is read: who calls, and whether he may."""

import time
from typing import TYPE_CHECKING, Final, NoReturn

from gateway.door.caller import CALLER, Caller
from gateway.door.keys import KeyRing
from gateway.door.scopes import Access, needed
from services.common.credentials.api_keys import PREFIX
from services.common.credentials.scopes import Scope
from services.common.errors import ForbiddenError, UnauthenticatedError
from services.common.http2.interceptor import Interceptor
from services.common.http2.server_call import ServerCall
from services.common.rpc.context import refusal

if TYPE_CHECKING:
    from gateway.door.tokens import Tokens

_BEARER: Final = b"bearer "
_PREFIX: Final = PREFIX.encode()


def check_good(caller: Caller) -> None:
    """Raise UnauthenticatedError when the credential has expired or was taken back."""
    if caller.revoked:
        raise UnauthenticatedError("the credential was taken back or replaced")
    if caller.expires <= time.time():
        raise UnauthenticatedError("the credential has expired", reason="CREDENTIALS_EXPIRED")


class Authentication(Interceptor):
    """Finds out who calls, by API key or token. No refusal quotes what was sent."""

    def __init__(self, keys: KeyRing | None, tokens: "Tokens | None") -> None:
        """None: there are none of that kind."""
        self._keys = keys
        self._tokens = tokens
        self._needed: dict[str, Scope | Access] = {}
        """Path → what it asks for; paths of methods that exist."""

    def admit(self, call: ServerCall) -> None:
        """See Interceptor."""
        need = self._needed.get(call.path)
        if need is None:
            need = self._needed[call.path] = needed(call.path)
        if need is Access.OPEN:
            return
        try:
            call.caller = caller = self._caller(call)
            if need is not Access.ANY and need not in caller.scopes:
                _forbid(need)
        except (UnauthenticatedError, ForbiddenError) as error:
            raise refusal(error) from None

    def began(self, call: ServerCall) -> None:
        """See Interceptor."""
        if isinstance(call.caller, Caller):
            CALLER.set(call.caller)

    def _caller(self, call: ServerCall) -> Caller:
        authorization = key = None
        for name, value in call.headers:
            if name == b"authorization":
                authorization = value
            elif name == b"x-api-key":
                key = value
        if authorization is not None:
            if authorization[:7].lower() != _BEARER:
                raise UnauthenticatedError("the header authorization must be: Bearer CREDENTIAL")
            credential = authorization[7:].strip()
        elif key is not None:
            credential = key.strip()
        else:
            raise UnauthenticatedError(
                "this gateway asks for a credential: the header x-api-key with an API key, "
                "or authorization with Bearer and a key or token",
                reason="CREDENTIALS_MISSING",
            )
        caller = self._found(credential)
        check_good(caller)
        return caller

    def _found(self, credential: bytes) -> Caller:
        if self._tokens is None or credential.startswith(_PREFIX):
            caller = self._keys.find(credential) if self._keys is not None else None
            if caller is None:
                raise UnauthenticatedError("the API key is not one of this gateway's")
            return caller
        return self._tokens.find(credential)


def _forbid(need: Scope | Access) -> NoReturn:
    if isinstance(need, Scope):
        raise ForbiddenError(f"the credential must have the scope {need}", reason="SCOPE_MISSING")
    raise ForbiddenError("no credential opens this method", reason="SCOPE_MISSING")
