"""Somebody who makes tokens."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.test"
AUDIENCE = "facet.test"
PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
"""One key for each algorithm that a gateway takes; its id is the algorithm's name."""
_AS_JWK: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def token(algorithm: str = "ES256", kid: str | None = "", **claims: Any) -> str:
    """A token that is good, but for what the claims say; None leaves one out."""
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": time.time() + 600,
        "tenant": "acme",
        "scope": "recognise other",
        **claims,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    headers = {} if kid is None else {"kid": kid or algorithm}
    return jwt.encode(kept, PRIVATE[algorithm], algorithm=algorithm, headers=headers)


def jwk_set(*algorithms: str) -> bytes:
    """The public keys, as a file."""
    keys = []
    for algorithm in algorithms or PRIVATE:
        jwk = _AS_JWK[algorithm].to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
        keys.append({**jwk, "kid": algorithm, "use": "sig"})
    return json.dumps({"keys": keys}).encode()


def pem(*algorithms: str) -> bytes:
    """The public keys, as another kind of file."""
    return b"\n".join(
        PRIVATE[algorithm]
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for algorithm in algorithms or PRIVATE
    )


def token_settings(folder: Path) -> dict[str, Any]:
    """Settings of a gateway that takes these tokens."""
    file = folder / "jwks.json"
    file.write_bytes(jwk_set())
    return {"jwt_keys": file, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
