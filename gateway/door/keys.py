"""API keys → callers."""

import hmac
import math
from collections.abc import Mapping
from typing import Final

from gateway.door.caller import Caller
from services.common.credentials.api_keys import ApiKey, digest, id_of

_NOBODYS: Final = digest(b"")


class KeyRing:
    """The keys that are good at present."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[ApiKey, Caller]] = {}

    def use(self, keys: Mapping[str, ApiKey]) -> None:
        """Know these and no others; who calls by one that is gone, or has changed, is revoked."""
        former, self._keys = self._keys, {}
        for key_id, key in keys.items():
            expires = key.expires.timestamp() if key.expires else math.inf
            known = former.get(key_id)
            if known is None or known[0] != key:
                known = (key, Caller(key.tenant, key.scopes, expires))
            self._keys[key_id] = known
        for key_id, (_, caller) in former.items():
            kept = self._keys.get(key_id)
            caller.revoked = kept is None or kept[1] is not caller

    def find(self, text: bytes) -> Caller | None:
        """Return who calls by a key; None where it is no good one. Expired ones are found, too.

        How long it takes tells nothing of a secret.
        """
        known = self._keys.get(id_of(text))
        right = hmac.compare_digest(known[0].sha256 if known else _NOBODYS, digest(text))
        return known[1] if known and right else None
