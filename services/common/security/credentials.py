"""TLS contexts of one process, made anew when its certificates change."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from services.common.errors import ConfigurationError
from services.common.following.files import FollowedFiles
from services.common.http2.tls import ALPN, ClientTls
from services.common.security.files import CertificateFacts, TlsFiles, read_certificates

log = structlog.get_logger(__name__)

EXPIRES_SOON_DAYS: Final = 7.0


@dataclass(frozen=True, slots=True)
class _Contexts:
    """What was made of one state of the files."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    facts: CertificateFacts


class Credentials:
    """A process's certificate and the authorities it trusts, as its files have them now.

    Connections that begin use the newest; those in being go on with what they began with.
    """

    def __init__(self, files: TlsFiles, identity: str | None = None, *, mutual: bool) -> None:
        """Read the files; raises ConfigurationError, a sentence that says what is wrong.

        `identity` is what the certificate must name; None: nothing asks for a name. `mutual`:
        clients of a server must show a certificate. Otherwise those that show one have it
        verified, and those that have none are served too, and TLS 1.2 is taken.
        """
        self.files = files
        self._identity = identity
        self._mutual = mutual
        self._now: _Contexts
        self._followed = FollowedFiles("the certificates", files.all, self._take)
        self._listening = self._server_context()
        # OpenSSL asks this whether or not the client named a host, and before it looks for
        # certificates: the connection goes on with the context that it is given.
        self._listening.sni_callback = self._use_newest

    @property
    def facts(self) -> CertificateFacts:
        """What the certificate in use says."""
        return self._now.facts

    @property
    def server_context(self) -> ssl.SSLContext:
        """The context for a server's sockets, for the whole life of the process."""
        return self._listening

    def client_context(self) -> ssl.SSLContext:
        """Return the context for a connection that begins now."""
        return self._now.client

    def to(self, identity: str) -> ClientTls:
        """Return how a channel reaches servers of that identity."""
        return ClientTls(self.client_context, identity)

    async def refresh(self) -> bool:
        """Read the files again if they have changed; return whether what is in use has changed.

        What cannot be used is told in the log, and the former contexts stay.
        """
        if not await self._followed.refresh():
            return False
        log.info(
            "certificates were read again",
            certificate=str(self.files.certificate),
            expires=self.facts.not_after.isoformat(),
        )
        return True

    def warn_of_expiry(self) -> None:
        """Say in the log when the certificate expires soon, or has expired."""
        days = self.facts.days_left
        tell = {
            "certificate": str(self.files.certificate),
            "expires": self.facts.not_after.isoformat(),
        }
        if days <= 0:
            log.error("the certificate has expired; peers refuse this process", **tell)
        elif days <= EXPIRES_SOON_DAYS:
            log.warning("the certificate expires soon", days_left=round(days, 1), **tell)

    def _use_newest(self, handshake: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        handshake.context = self._now.server

    def _take(self, _: Sequence[bytes]) -> None:
        # OpenSSL reads the files itself. One that was replaced since then differs at the next look.
        facts = read_certificates(self.files.certificate)[0]
        if self._identity is not None and facts.uris != (self._identity,):
            named = " and ".join(facts.uris) or "nobody"
            raise ConfigurationError(
                f"{self.files.certificate} is the certificate of {named}, and this process is "
                f"{self._identity}; `facet certs issue` makes one for it"
            )
        self._now = _Contexts(self._server_context(), self._client_context(), facts)

    def _server_context(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        if not self._mutual:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.files.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED if self._mutual else ssl.CERT_OPTIONAL
        # A session that is taken up again is not verified again: by a ticket from before, a
        # client of an authority that is trusted no more would still come in.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        return context

    def _client_context(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # ClientTls asks for the identity
        return context

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([ALPN])
        files = self.files
        _load(
            lambda: context.load_cert_chain(files.certificate, files.key, password=_no_password),
            f"{files.certificate} and {files.key} are no certificate with its key",
            files.certificate,
            files.key,
        )
        if (ca := files.ca) is not None:
            _load(
                lambda: context.load_verify_locations(ca),
                f"{ca} has no certificates of authorities",
                ca,
            )
        return context


def _no_password() -> str:
    """Without this OpenSSL would ask at the terminal for that of an encrypted key."""
    raise ConfigurationError("a key with a password cannot be used; write it without one")


def _load(load: Callable[[], None], wrong: str, *paths: Path) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise ConfigurationError(f"{wrong} ({error.reason or error})") from None
    except OSError as error:
        names = " or ".join(map(str, paths))
        raise ConfigurationError(f"cannot read {names}: {error.strerror}") from None
