"""What opens a Consul that does not let everybody in: an ACL token, and certificates."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.common.errors import InvalidRequestError, RegistryError


@dataclass(frozen=True, slots=True)
class ConsulAccess:
    """As settings have it; nothing is read before it is needed."""

    token: str | None = None
    token_file: Path | None = None
    """In the place of `token`; read again when it has changed."""
    ca: Path | None = None
    """PEM file of the authorities for Consul's certificate; None: those of the system."""
    certificate: Path | None = None
    """PEM file of the certificate to show, with the key in `key`."""
    key: Path | None = None

    def check(self, *, tls: bool) -> None:
        """Raise InvalidRequestError where one setting contradicts another."""
        if self.token and self.token_file:
            raise InvalidRequestError(
                "FACET_CONSUL_TOKEN and FACET_CONSUL_TOKEN_FILE exclude each other"
            )
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequestError("FACET_CONSUL_CERT and FACET_CONSUL_KEY belong together")
        if not tls and (self.ca or self.certificate):
            raise InvalidRequestError(
                "FACET_CONSUL_CA and FACET_CONSUL_CERT need TLS: write the registry as "
                "consuls://host:port"
            )

    def tls_context(self) -> ssl.SSLContext:
        """Return the context for HTTPS; the server's certificate must name the host.

        InvalidRequestError when the files cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # SSLError is one
            paths = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path)
            raise InvalidRequestError(
                f"the certificates for Consul cannot be used ({paths}): {error}"
            ) from None
        return context


NO_ACCESS: Final = ConsulAccess()
"""Neither token nor certificates."""


class Token:
    """The ACL token as it is now."""

    def __init__(self, access: ConsulAccess) -> None:
        self._file = access.token_file
        self._value = access.token
        self._read_at: int | None = None

    @property
    def value(self) -> str | None:
        """The token; None: there is none. RegistryError when its file cannot be read."""
        if self._file is None:
            return self._value
        try:
            changed_at = os.stat(self._file).st_mtime_ns
            if changed_at != self._read_at:
                self._value = self._file.read_text("utf-8").strip() or None
                self._read_at = changed_at
        except OSError as error:
            raise RegistryError(
                f"FACET_CONSUL_TOKEN_FILE={self._file} cannot be read: {error.strerror}"
            ) from None
        return self._value
