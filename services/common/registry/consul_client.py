"""py-consul's endpoints over a transport of our own.

py-consul knows Consul's paths and parameters, but its asyncio transport wants a running loop
when it is made, passes arguments that aiohttp has deprecated, and knows no time-out for most
calls; CONSUL_HTTP_TOKEN in the environment overrides the token that it is given; some of its
calls forget the token. The transport here is made at the first call, adds the token to every
request, and each call has a time-out and fails with a RegistryError that says why.
"""

import asyncio
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import aiohttp
import consul.base
import yarl

from services.common.errors import RegistryError
from services.common.registry.access import ConsulAccess, Token

CALL_S: Final = 2.0
"""Time-out of a call that Consul answers at once."""

WAIT_S: Final = 5.0
"""How long a blocking query waits for a change: a Consul that hangs is noticed after that."""

REFUSED: Final = "REGISTRY_REFUSED"
"""Reason of a RegistryError when Consul answered, and its answer was that this is not allowed."""

T = TypeVar("T")
Answer = tuple[str, T]
"""What py-consul returns for a query: the index, as text, and the data."""


class ConsulClient:
    """Calls to one Consul agent."""

    def __init__(self, host: str, port: int, access: ConsulAccess, *, tls: bool = False) -> None:
        """Raises InvalidRequestError where `access` cannot be used."""
        access.check(tls=tls)
        self._host, self._port = host, port
        self._token = Token(access)
        self._tls = access.tls_context() if tls else None
        self._api: _Api | None = None
        self._closed = False

    def __str__(self) -> str:
        return f"Consul at {self._host}:{self._port}"

    async def call(self, request: Callable[[Any], Awaitable[T]], timeout_s: float = CALL_S) -> T:
        """Return what a request of the py-consul object answers; RegistryError when it fails."""
        if self._closed:
            raise RegistryError(f"the registry ({self}) is closed")
        if self._api is None:
            self._api = _Api(self._host, self._port, self._token, self._tls)
        try:
            async with asyncio.timeout(timeout_s):
                return await request(self._api)
        except TimeoutError as error:
            raise RegistryError(f"{self} did not answer within {timeout_s:g} s") from error
        except (consul.ACLPermissionDenied, consul.ACLDisabled) as error:
            token = "the token given" if self._token.value else "no token given"
            raise RegistryError(f"{self} refuses ({token}): {error}", reason=REFUSED) from error
        except consul.ConsulException as error:
            raise RegistryError(f"{self} failed: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise RegistryError(f"{self} cannot be reached: {_why(error)}") from error

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._api is not None:
            await self._api.http.close()


def _why(error: Exception) -> str:
    # asyncio's and aiohttp's texts for a refused connection repeat the address three times.
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is refused ({error.certificate_error}); see FACET_CONSUL_CA"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cause.reason})"
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return str(error) or type(error).__name__


class Query(Generic[T]):
    """A blocking query, asked again and again: see Consul's "Blocking Queries".

    `restarted` says whether Consul may have lost its memory before the last answer: after a
    failure, and when the index went backwards.
    """

    def __init__(
        self,
        client: ConsulClient,
        ask: Callable[[Any, int | None, str], Awaitable[Answer[T]]],
        wait_s: float = WAIT_S,
    ) -> None:
        self._client = client
        self._ask = ask
        self._wait_s = wait_s
        self._index = 0
        self._failed = False
        self.restarted = False

    async def answer(self, wait_s: float | None = None) -> T:
        """Return the data at once the first time and after a restart, later at the next change.

        Without a change it comes after `wait_s` seconds. RegistryError when Consul fails.
        """
        wait_s = self._wait_s if wait_s is None else min(wait_s, self._wait_s)
        known = self._index or None  # None: an index of 0 is not sent, and nothing waits
        wait = f"{max(1, round(wait_s * 1000))}ms"
        # Consul adds up to a sixteenth to the wait, so that not all come back at once.
        timeout_s = wait_s * (1 + 1 / 16) + CALL_S
        try:
            index, data = await self._client.call(
                lambda api: self._ask(api, known, wait), timeout_s
            )
        except RegistryError:
            self._index, self._failed = 0, True
            raise
        # An index of 0 would never wait: such an answer counts as 1. One that goes backwards
        # belongs to another past: begin anew.
        new = max(1, int(index))
        backwards = new < self._index
        self.restarted = self._failed or backwards
        self._failed = False
        self._index = 0 if backwards else new
        return data


class Backoff:
    """Pauses between tries: 0.1 s, doubling up to `most_s`, each shortened by up to a half."""

    def __init__(self, most_s: float = 1.0) -> None:
        self._most_s = most_s
        self._failures = 0

    def reset(self) -> None:
        """Begin again with the shortest."""
        self._failures = 0

    async def pause(self) -> None:
        """Wait, longer each time."""
        pause_s = min(self._most_s, 0.1 * 2.0 ** min(self._failures, 10))
        self._failures += 1
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))


class _Api(consul.base.Consul):
    def __init__(self, host: str, port: int, token: Token, tls: ssl.SSLContext | None) -> None:
        self._token = token
        self._tls = tls
        scheme = "http" if tls is None else "https"
        # Given in full, so that nothing is taken from the environment.
        super().__init__(host=host, port=port, token=None, scheme=scheme, verify=True)
        self.token = None  # the transport adds it

    def http_connect(
        self, host: str, port: int, scheme: str, verify: object = None, cert: object = None
    ) -> "_Transport":
        return _Transport(host, port, scheme, self._token, self._tls)


class _Transport(consul.base.HTTPClient):
    def __init__(
        self, host: str, port: int, scheme: str, token: Token, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(f"[{host}]" if ":" in host else host, port, scheme)
        self._token = token
        # Each watch keeps a connection busy: no limit. No time-out: `ConsulClient.call` has one.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls or True),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    def get(self, callback: Any, path: str, params: Any = None, **_: Any) -> Awaitable[Any]:
        return self._request(callback, "GET", path, params)

    def put(
        self, callback: Any, path: str, params: Any = None, data: Any = "", **_: Any
    ) -> Awaitable[Any]:
        return self._request(callback, "PUT", path, params, data)

    def delete(
        self, callback: Any, path: str, params: Any = None, data: Any = "", **_: Any
    ) -> Awaitable[Any]:
        return self._request(callback, "DELETE", path, params, data)

    def post(
        self, callback: Any, path: str, params: Any = None, data: Any = "", **_: Any
    ) -> Awaitable[Any]:
        return self._request(callback, "POST", path, params, data)

    async def close(self) -> None:
        await self._session.close()

    async def _request(
        self, callback: Any, method: str, path: str, params: Any, data: Any = None
    ) -> Any:
        url = yarl.URL(self.uri(path, params), encoded=True)
        token = self._token.value
        headers = {"X-Consul-Token": token} if token else {}
        async with self._session.request(
            method, url, data=data or None, headers=headers
        ) as response:
            body = await response.text("utf-8")
        if response.headers.get("X-Consul-Results-Filtered-By-ACLs") == "true":
            raise consul.ACLPermissionDenied(f"Permission denied to read all of {path}")
        return callback(consul.base.Response(response.status, response.headers, body))
