"""Settings of the gateway."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from services.common.errors import ConfigurationError
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

    @model_validator(mode="before")
    @classmethod
    def _own_port(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The public port of those that share it is no default for the own ones."""
        shares = given.get("shared_port", 0) not in (0, "0")
        return {"port": 0, **given} if shares else given
