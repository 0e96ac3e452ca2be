"""The public keys that tokens are verified by: a JWK set (RFC 7517), or PEM.

Each key is good for one algorithm, which is of its kind and not of the token's choice: a token
that names another one, or "none", or an HMAC with the public key as its secret, finds no key.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from services.common.errors import ConfigurationError

LEAST_RSA_BITS: Final = 2048

_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One public key."""

    id: str | None
    """What the header `kid` of its tokens says, if anything."""
    algorithm: str
    """RS256, ES256 or EdDSA."""
    key: Any


def parse_token_keys(data: bytes) -> list[TokenKey]:
    """Return the keys of a file's content; ConfigurationError says what is wrong with it."""
    if b"PRIVATE KEY" in data:
        raise ConfigurationError("it holds a private key; the gateway is to have public ones only")
    if blocks := _PEM.findall(data):
        return [_checked(None, _pem_key(block)) for block in blocks]
    try:
        listed = json.loads(data)["keys"]
        keys = [_jwk(each) for each in listed if each.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError("it is neither a JWK set nor PEM public keys") from None
    if not keys:
        raise ConfigurationError("it has no key for signatures")
    return keys


def _pem_key(block: bytes) -> Any:
    try:
        return load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError("one of its PEM public keys cannot be read") from None


def _jwk(given: dict[str, Any]) -> TokenKey:
    if given.get("kty") == "oct":
        raise ConfigurationError("it has a shared secret; tokens are verified by public keys only")
    if "d" in given:
        raise ConfigurationError("it holds a private key; the gateway is to have public ones only")
    try:
        parsed = jwt.PyJWK.from_dict(given)
    except jwt.PyJWTError:
        raise ConfigurationError("one of its keys cannot be read") from None
    key = _checked(given.get("kid"), parsed.key)
    if given.get("alg", key.algorithm) != key.algorithm:
        raise ConfigurationError(f"its {key.algorithm} key is meant for another algorithm")
    return key


def _checked(key_id: str | None, key: Any) -> TokenKey:
    match key:
        case RSAPublicKey() if key.key_size >= LEAST_RSA_BITS:
            return TokenKey(key_id, "RS256", key)
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return TokenKey(key_id, "ES256", key)
        case Ed25519PublicKey():
            return TokenKey(key_id, "EdDSA", key)
    raise ConfigurationError(
        f"its keys must be RSA of {LEAST_RSA_BITS} bits or more, P-256 or Ed25519"
    )
