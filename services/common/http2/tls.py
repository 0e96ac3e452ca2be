"""What TLS adds to a connection: the certificate that a peer shows, and who it must be.

The contexts come from elsewhere (`services.common.security`); nothing here reads a file.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

ALPN: Final = "h2"
HANDSHAKE_WITHIN_S: Final = 10.0
"""A client that has not finished its handshake with a server by then is let go."""


class WrongPeerError(OSError):
    """The peer has a valid certificate, and it is not that of the one who was called."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a channel speaks TLS, and whom it wants to speak with."""

    context: Callable[[], ssl.SSLContext]
    """Asked anew for each connection: certificates change while a process runs."""
    identity: str
    """The URI that the server's certificate must name, such as spiffe://facet/inference. Its
    host name does not matter: instances move."""

    def check(self, transport: asyncio.BaseTransport) -> None:
        """Raise WrongPeerError unless the server is the one that was meant."""
        found = identity_of(transport)
        if found != self.identity:
            raise WrongPeerError(
                f"its certificate is that of {found or 'nobody by name'}, not {self.identity}"
            )


def identity_of(transport: asyncio.BaseTransport) -> str | None:
    """Return the URI in the certificate that the peer has shown.

    None: it has shown none, or one with no URI or several, which the SPIFFE standard forbids
    (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md, section 2).
    """
    certificate = transport.get_extra_info("peercert") or {}
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    return str(uris[0]) if len(uris) == 1 else None
