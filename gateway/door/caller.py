"""Who calls."""

import math
from contextvars import ContextVar
from typing import Final

from services.common.credentials.scopes import Scope


class Caller:
    """Who stands behind a credential that was found good."""

    __slots__ = ("expires", "revoked", "scopes", "tenant")

    def __init__(
        self, tenant: str, scopes: frozenset[Scope] = frozenset(), expires: float = math.inf
    ) -> None:
        """`expires` is when the credential does, in seconds since the epoch."""
        self.tenant = tenant
        self.scopes = scopes
        self.expires = expires
        self.revoked = False
        """The credential was taken back since."""


ANYBODY: Final = Caller("")
"""Who calls a gateway that asks for no credentials."""
CALLER: Final[ContextVar[Caller]] = ContextVar("caller", default=ANYBODY)
"""Who is behind the work of a task: set as a handler begins, and handed on to its tasks."""


def tenant() -> str:
    """Return in whose name the present task works."""
    return CALLER.get().tenant
