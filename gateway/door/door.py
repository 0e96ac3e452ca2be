"""What of the door the settings ask for."""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from gateway.door.authentication import Authentication, check_good
from gateway.door.caller import CALLER
from gateway.door.keys import KeyRing
from gateway.door.quotas import Quotas, parse_quotas
from gateway.settings import GatewaySettings
from services.common.credentials.key_file import parse_keys
from services.common.errors import ConfigurationError
from services.common.following.files import FollowedFiles
from services.common.http2.interceptor import Interceptor
from services.common.security.protection import is_loopback

if TYPE_CHECKING:
    from gateway.door.tokens import Tokens

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Door:
    """Authentication and quotas, as far as they are configured, and the files behind them."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Read the files; ConfigurationError where one cannot be used."""
        self._files: list[FollowedFiles] = []
        self._authentication = self._authenticate(settings)
        self._quotas: Quotas | None = None
        if settings.quotas is not None:
            self._quotas = Quotas(settings.gateways)
            self._follow("the quotas", settings.quotas, parse_quotas, self._quotas.use)
        if self._authentication is None and not is_loopback(settings.host):
            log.warning(
                "anybody who reaches this gateway may use it; FACET_API_KEYS or FACET_JWT_KEYS "
                "would ask for credentials",
                host=settings.host,
            )

    @property
    def interceptors(self) -> tuple[Interceptor, ...]:
        """What looks at every call."""
        return (self._authentication,) if self._authentication is not None else ()

    def watchers(self) -> list[Coroutine[Any, Any, None]]:
        """Return what reads the files again; to run as long as the process does."""
        return [file.follow() for file in self._files]

    def charge(self, images: int) -> None:
        """Charge the caller for these, of whom a stream may outlive the credential.

        Raises OverloadedError (QUOTA_EXCEEDED) and UnauthenticatedError; then nothing is charged.
        """
        if self._authentication is not None:
            check_good(CALLER.get())
        if self._quotas is not None:
            self._quotas.charge(CALLER.get().tenant, images)

    def give_back(self, images: int) -> None:
        """Charge nothing for these: the cluster itself refused them."""
        if self._quotas is not None:
            self._quotas.give_back(CALLER.get().tenant, images)

    def _authenticate(self, settings: GatewaySettings) -> Authentication | None:
        keys: KeyRing | None = None
        if settings.api_keys is not None:
            keys = KeyRing()
            self._follow("the API keys", settings.api_keys, parse_keys, keys.use)
        tokens = self._follow_token_keys(settings, settings.jwt_keys) if settings.jwt_keys else None
        return Authentication(keys, tokens) if keys or tokens else None

    def _follow_token_keys(self, settings: GatewaySettings, file: Path) -> "Tokens":
        # Cryptography takes a fifth of a second to import; without tokens nobody needs it.
        from gateway.door.token_keys import parse_token_keys
        from gateway.door.tokens import Issuer, Tokens

        tokens = Tokens(
            Issuer(settings.jwt_issuer, settings.jwt_audience, settings.jwt_tenant_claim)
        )
        self._follow("the token keys", file, parse_token_keys, tokens.use)
        return tokens

    def _follow(
        self, what: str, file: Path, parse: Callable[[bytes], T], use: Callable[[T], None]
    ) -> None:
        def take(contents: Sequence[bytes]) -> None:
            try:
                use(parse(contents[0]))
            except ConfigurationError as error:
                raise ConfigurationError(f"{what} in {file}: {error.message}") from None

        self._files.append(FollowedFiles(what, [file], take))
