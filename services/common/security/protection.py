"""How one process is protected, by its settings: its doors, its links, and what it refuses."""

import ipaddress
from collections.abc import Coroutine
from typing import Any

import structlog

from services.common.errors import ConfigurationError
from services.common.http2.interceptor import Interceptor
from services.common.http2.tls import ClientTls
from services.common.security.authorisation import Authorisation
from services.common.security.credentials import Credentials
from services.common.security.identity import spiffe_id
from services.common.security.upkeep import keep_fresh
from services.common.settings import ServiceSettings

log = structlog.get_logger(__name__)


class Protection:
    """TLS of a process, or that it has none and needs none."""

    def __init__(self, service: str = "", settings: ServiceSettings | None = None) -> None:
        """Read the certificates; raises ConfigurationError, also where TLS is missing.

        Without arguments: none, for processes that are made up in tests.
        """
        self._links: Credentials | None = None
        self.door: Credentials | None = None
        """Of the main port; None: plain text."""
        self.interceptors: tuple[Interceptor, ...] = ()
        """What looks at the calls of the main port."""
        self._trust_domain = ""
        if settings is None:
            return
        self._trust_domain = settings.trust_domain
        own = spiffe_id(settings.trust_domain, service)
        if (files := settings.tls_files) is not None:
            self._links = Credentials(files, own, mutual=True)
        if settings.is_public:
            if (public := settings.door_files) is not None:
                self.door = Credentials(public, mutual=False)
        else:
            self.door = self._links
        if self.door is None:
            _refuse_plain_text(settings)
        elif self.door is self._links:
            self.interceptors = (Authorisation(settings.trust_domain),)

    def to(self, service: str) -> ClientTls | None:
        """Return how a channel reaches instances of a service; None: in plain text."""
        if self._links is None:
            return None
        return self._links.to(spiffe_id(self._trust_domain, service))

    @property
    def has_tls(self) -> bool:
        """The main port, or the links, or both are TLS."""
        return bool(self._credentials)

    def upkeep(self) -> Coroutine[Any, Any, None] | None:
        """Return what must run as long as the process does; None: nothing."""
        return keep_fresh(self._credentials) if self._credentials else None

    @property
    def _credentials(self) -> list[Credentials]:
        both = (self._links, self.door)
        return list(dict.fromkeys(each for each in both if each is not None))


def _refuse_plain_text(settings: ServiceSettings) -> None:
    """Raise ConfigurationError where others than this machine could listen in, unasked."""
    if settings.allows_plain_text or is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"FACET_HOST={settings.host} would serve plain text to other machines; set "
        f"{settings.door_hint}, or FACET_INSECURE=true where the network itself is trusted"
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
