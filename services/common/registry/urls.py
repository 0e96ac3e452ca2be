"""Which registry a URL means."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from services.common.errors import InvalidRequestError
from services.common.registry.access import NO_ACCESS, ConsulAccess
from services.common.registry.directory import DirectoryRegistry
from services.common.registry.interface import Registry

DEFAULT_PREFIX: Final = "facet"

_CONSUL_PORTS: Final = {"consul": 8500, "consuls": 8501}
"""Scheme → the port that Consul means by it; the second one is HTTPS."""


def open_registry(url: str, access: ConsulAccess = NO_ACCESS) -> Registry:
    """Return the registry that a URL means; nothing is read or connected yet.

    `file:///folder` is a directory on this machine, `consul://host[:port][/prefix]` a Consul
    agent (port 8500, prefix "facet" unless told), `consuls://` the same over HTTPS (port 8501).
    `access` opens a Consul. InvalidRequestError when the URL means nothing, or `access` is no use.
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
    if parts.scheme not in _CONSUL_PORTS:
        raise _meaningless(url, "it begins with none of file:, consul: and consuls:")
    if not parts.hostname:
        raise _meaningless(url, "it names no host")
    # Imported here: a cluster on one machine starts without an HTTP client.
    from services.common.registry.consul import ConsulRegistry

    return ConsulRegistry(
        parts.hostname,
        port or _CONSUL_PORTS[parts.scheme],
        tls=parts.scheme == "consuls",
        prefix=parts.path.strip("/") or DEFAULT_PREFIX,
        access=access,
    )


def _open_directory(url: str, parts: SplitResult) -> Registry:
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute() or path == Path("/"):
        raise _meaningless(url, "a directory is written file:///an/absolute/path")
    return DirectoryRegistry(path)


def _meaningless(url: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"{url!r} is no URL of a registry: {reason}")
