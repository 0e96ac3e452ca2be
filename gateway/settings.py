"""Settings of the gateway."""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from services.common.errors import ConfigurationError
from services.common.http2.limits import MAX_STREAMS, Limits
from services.common.security.files import TlsFiles
from services.common.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    port: int = Field(default=50051, ge=0, le=65535)
    """Public port; 0: any free one. Beside a shared port: this gateway's own, by default 0."""
    shared_port: int = Field(default=0, ge=0, le=65535)
    """Public port that other gateways of this user on this host listen on as well; 0: none."""
    gateways: int = Field(default=1, ge=1)
    """How many gateways the cluster is to have: with fewer it is not complete."""
    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=-1)
    """Bytes of the largest request; -1: no limit."""
    max_images: int = Field(default=1024, ge=1)
    """Images in the largest request."""
    max_queued_images: int = Field(default=8192, ge=1)
    """Images that may wait for their answer; more are refused with RESOURCE_EXHAUSTED."""
    max_stream_requests: int = Field(default=64, ge=1)
    """Requests in hand of one StreamRecognize; the next one is read when one is answered."""
    shared_memory_bytes: int = Field(default=512 * 1024 * 1024, ge=0)
    """Memory for pixels that services of this host share with the gateway; it is taken as it is
    used. 0: pixels are always sent."""
    default_deadline_s: float = Field(default=30.0, gt=0)
    """Seconds that a call without a deadline gets."""
    max_deadline_s: float = Field(default=300.0, gt=0)
    """Seconds that any call gets at most."""
    public_tls_cert: Path | None = None
    """PEM file of the public port's certificate; by default that of `tls_cert`."""
    public_tls_key: Path | None = None
    """PEM file of the key of `public_tls_cert`."""
    public_insecure: bool = False
    """The public port is plain text, whatever the links inside the cluster are."""
    api_keys: Path | None = None
    """File of the API keys that open the gateway, made by `facet keys`; read again when it
    changes. Neither this nor `jwt_keys`: anybody may call."""
    jwt_keys: Path | None = None
    """File of the public keys that tokens (JWT) are verified by: a JWK set, or PEM; read again
    when it changes. RS256, ES256 and EdDSA; with `jwt_issuer` and `jwt_audience`."""
    jwt_issuer: str = ""
    """The claim `iss` that tokens must have."""
    jwt_audience: str = ""
    """What the claim `aud` of tokens must have among others."""
    jwt_tenant_claim: str = "tenant"
    """The claim that says in whose name a token calls."""
    quotas: Path | None = None
    """File (TOML) of the images a second that tenants may have recognised; read again when it
    changes. Each of `gateways` holds its share. None: no tenant has a limit."""
    max_streams: int = Field(default=MAX_STREAMS, ge=1)
    """Calls of one connection at a time."""
    max_connections: int = Field(default=8192, ge=0)
    """Connections in all; more are closed at once. 0: no limit."""
    max_peer_connections: int = Field(default=0, ge=0)
    """Connections from one address; 0: no limit, as behind a load balancer, whose address all
    clients have."""
    request_within_s: float = Field(default=30.0, ge=0)
    """Seconds in which a request must be here once it has begun to arrive; 0: no limit."""
    max_arriving_bytes: int = Field(default=1024 * 1024 * 1024, ge=0)
    """Bytes of requests that have not arrived completely, of all clients together; the one that
    goes beyond is refused. 0: no limit."""

    is_public: ClassVar[bool] = True
    door_hint: ClassVar[str] = (
        "FACET_PUBLIC_TLS_CERT and FACET_PUBLIC_TLS_KEY, or FACET_TLS_CERT, FACET_TLS_KEY and "
        "FACET_TLS_CA, or FACET_PUBLIC_INSECURE=true"
    )

    @property
    def door_files(self) -> TlsFiles | None:
        """See ServiceSettings.door_files; the public port may have a certificate of its own."""
        certificate, key = self.public_tls_cert, self.public_tls_key
        if (certificate is None) != (key is None):
            raise ConfigurationError(
                "FACET_PUBLIC_TLS_CERT and FACET_PUBLIC_TLS_KEY belong together"
            )
        if self.public_insecure:
            return None
        if certificate is not None and key is not None:
            return TlsFiles(certificate, key, self.tls_ca)
        return self.tls_files

    @property
    def allows_plain_text(self) -> bool:
        """See ServiceSettings.allows_plain_text."""
        return self.insecure or self.public_insecure

    @model_validator(mode="after")
    def _tokens_of_somebody(self) -> Self:
        """A token that the same issuer made for another service must not open this one."""
        if self.jwt_keys is not None and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("FACET_JWT_KEYS needs FACET_JWT_ISSUER and FACET_JWT_AUDIENCE")
        return self

    def server_limits(self) -> Limits:
        """Return what clients may take of the gateway together."""
        return Limits(
            max_streams=self.max_streams,
            max_connections=self.max_connections,
            max_peer_connections=self.max_peer_connections,
            request_within_s=self.request_within_s,
            max_arriving_bytes=self.max_arriving_bytes,
        )

    @model_validator(mode="before")
    @classmethod
    def _own_port(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The public port of those that share it is no default for the own ones."""
        shares = given.get("shared_port", 0) not in (0, "0")
        return {"port": 0, **given} if shares else given
