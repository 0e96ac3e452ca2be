"""Which tokens open the door."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from gateway.door import tokens as tokens_module
from gateway.door.token_keys import parse_token_keys
from gateway.door.tokens import LEEWAY_S, Issuer, Tokens
from services.common.credentials.scopes import Scope
from services.common.errors import ConfigurationError, UnauthenticatedError
from tests.gateway.door.issuer import AUDIENCE, ISSUER, PRIVATE, jwk_set, pem, token

KNOWN = parse_token_keys(jwk_set())


@pytest.fixture
def tokens() -> Tokens:
    tokens = Tokens(Issuer(ISSUER, AUDIENCE))
    tokens.use(KNOWN)
    return tokens


def reason(tokens: Tokens, text: str | bytes) -> str:
    """Why a token is refused; the words never quote it."""
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(UnauthenticatedError) as raised:
        tokens.find(raw)
    assert raised.value.__cause__ is None
    for part in raw.decode("latin-1").split("."):
        assert len(part) < 8 or part not in raised.value.message
    return raised.value.reason


@pytest.mark.parametrize("file", [jwk_set, pem])
@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("kid", ["", None])
def test_good_tokens(file: Any, algorithm: str, kid: str | None) -> None:
    tokens = Tokens(Issuer(ISSUER, AUDIENCE))
    tokens.use(parse_token_keys(file()))
    expires = int(time.time()) + 100
    caller = tokens.find(token(algorithm, kid, exp=expires).encode())
    assert (caller.tenant, caller.scopes) == ("acme", frozenset({Scope.RECOGNISE}))
    assert caller.expires == expires + LEEWAY_S


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": None}, "CREDENTIALS_INVALID"),
        ({"exp": time.time() - LEEWAY_S - 5}, "CREDENTIALS_EXPIRED"),
        ({"nbf": time.time() + 1e6}, "CREDENTIALS_INVALID"),
        ({"iss": "https://else.test"}, "CREDENTIALS_INVALID"),
        ({"iss": None}, "CREDENTIALS_INVALID"),
        ({"aud": "else"}, "CREDENTIALS_INVALID"),
        ({"aud": None}, "CREDENTIALS_INVALID"),
        ({"tenant": None}, "CREDENTIALS_INVALID"),
        ({"tenant": ""}, "CREDENTIALS_INVALID"),
        ({"tenant": 7}, "CREDENTIALS_INVALID"),
        ({"tenant": "x" * 129}, "CREDENTIALS_INVALID"),
    ],
)
def test_claims_that_are_refused(tokens: Tokens, claims: dict[str, Any], expected: str) -> None:
    assert reason(tokens, token(**claims)) == expected


def test_clocks_may_differ_a_little(tokens: Tokens) -> None:
    assert tokens.find(token(exp=time.time() - LEEWAY_S / 2).encode()).tenant == "acme"


def test_another_claim_may_name_the_tenant() -> None:
    tokens = Tokens(Issuer(ISSUER, AUDIENCE, tenant_claim="org"))
    tokens.use(KNOWN)
    assert tokens.find(token(tenant=None, org="emca").encode()).tenant == "emca"


def _unsigned() -> str:
    return jwt.encode(jwt.decode(token(), options={"verify_signature": False}), "", "none")


def _by_public_key_as_secret() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = jwt.decode(token(), options={"verify_signature": False})
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    mac = hmac.new(pem("RS256"), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _by_another_key() -> str:
    claims = jwt.decode(token(), options={"verify_signature": False})
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, key, "ES256", headers={"kid": "ES256"})


def _by_a_key_of_another_name() -> str:
    return token("RS256", "ES256")


def _changed() -> str:
    head, claims, signature = token().split(".")
    other = token(tenant="other").split(".")[1]
    assert other != claims
    return f"{head}.{other}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [_unsigned, _by_public_key_as_secret, _by_another_key, _by_a_key_of_another_name, _changed],
)
def test_forged_tokens(tokens: Tokens, forge: Any) -> None:
    assert reason(tokens, forge()) == "CREDENTIALS_INVALID"


@given(st.binary(max_size=200) | st.text(alphabet='eyJhbGciOi.[{"', max_size=200).map(str.encode))
def test_no_text_is_more_than_refused(text: bytes) -> None:
    tokens = Tokens(Issuer(ISSUER, AUDIENCE))
    tokens.use(KNOWN)
    assert reason(tokens, text) == "CREDENTIALS_INVALID"


def test_a_token_nested_without_end(tokens: Tokens) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 12_000).rstrip(b"=")
    assert reason(tokens, head + b".e30.e30") == "CREDENTIALS_INVALID"


def test_a_token_is_verified_once(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    good = token().encode()
    caller = tokens.find(good)
    monkeypatch.delattr("jwt.decode")  # nothing can be verified any more
    assert tokens.find(good) is caller
    assert reason(tokens, token(jti="another")) == "CREDENTIALS_INVALID"


def test_not_all_tokens_are_remembered(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "REMEMBERED", 2)
    first, *others = [token(jti=str(number)).encode() for number in range(3)]
    caller = tokens.find(first)
    for each in others:
        tokens.find(each)
    assert tokens.find(first) is not caller


def test_other_keys_end_what_was_known(tokens: Tokens) -> None:
    good = token("ES256").encode()
    caller = tokens.find(good)
    tokens.use(parse_token_keys(jwk_set("RS256")))
    assert caller.revoked
    assert reason(tokens, good) == "CREDENTIALS_INVALID"
    tokens.use(KNOWN)
    assert not tokens.find(good).revoked


def _private_pem() -> bytes:
    key = PRIVATE["ES256"]
    pem_bytes: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem_bytes


def _jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither a JWK set nor PEM"),
        (b"[1, 2]", "neither a JWK set nor PEM"),
        (b'{"keys": [1]}', "neither a JWK set nor PEM"),
        (b'{"keys": []}', "no key for signatures"),
        (_private_pem(), "private key"),
        (_jwks(RSAAlgorithm.to_jwk(PRIVATE["RS256"], as_dict=True)), "private key"),
        (_jwks({"kty": "oct", "k": "c2VjcmV0"}), "shared secret"),
        (_jwks({"kty": "RSA", "n": "?"}), "cannot be read"),
        (
            _jwks(
                RSAAlgorithm.to_jwk(
                    rsa.generate_private_key(65537, 1024).public_key(), as_dict=True
                )
            ),
            "2048 bits",
        ),
        (
            _jwks({**json.loads(jwk_set("RS256"))["keys"][0], "alg": "PS256"}),
            "another algorithm",
        ),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "cannot be read"),
    ],
)
def test_files_that_are_no_keys(data: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_token_keys(data)
