"""Which registry a URL means."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from services.common.errors import InvalidRequestError
from services.common.registry.directory import DirectoryRegistry
from services.common.registry.interface import Registry

DEFAULT_PREFIX: Final = "facet"
DEFAULT_CONSUL_PORT: Final = 8500

_CONSUL_SCHEMES: Final = {"consul": "http"}


def open_registry(url: str, *, consul_token: str | None = None) -> Registry:
    """Return the registry that a URL means; nothing is read or connected yet.

    `file:///folder` is a directory on this machine, `consul://host[:port][/prefix]` a Consul
    agent (port 8500, prefix "facet" unless told). `consul_token` is an ACL token for it.
    InvalidRequestError when the URL means nothing.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _meaningless(url, str(error)) from error
    if parts.query or parts.fragment or parts.username or parts.password:
        raise _meaningless(url, "it has a part that is neither host, port nor path")
    if parts.scheme == "file":
        return _open_directory(url, parts)
    if parts.scheme not in _CONSUL_SCHEMES:
        raise _meaningless(url, "it begins with neither file: nor consul:")
    if not parts.hostname:
        raise _meaningless(url, "it names no host")
    # Imported here: a cluster on one machine starts without an HTTP client.
    from services.common.registry.consul import ConsulRegistry

    return ConsulRegistry(
        parts.hostname,
        port or DEFAULT_CONSUL_PORT,
        scheme=_CONSUL_SCHEMES[parts.scheme],
        prefix=parts.path.strip("/") or DEFAULT_PREFIX,
        token=consul_token,
    )


def _open_directory(url: str, parts: SplitResult) -> Registry:
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute() or path == Path("/"):
        raise _meaningless(url, "a directory is written file:///an/absolute/path")
    return DirectoryRegistry(path)


def _meaningless(url: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"{url!r} is no URL of a registry: {reason}")
