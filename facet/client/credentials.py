"""The API key that goes along with every call. It comes from the environment, or from a file:
arguments of a command are seen by everybody on its machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.errors import ConfigurationError
from services.common.settings import read_settings


class ClientSettings(BaseSettings):
    """What a client needs to be let in."""

    model_config = SettingsConfigDict(
        env_prefix="FACET_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    api_key: SecretStr | None = None
    """The key itself."""
    api_key_file: Path | None = None
    """A file that has the key in its first line; it wins."""


def find_api_key(file: Path | None = None) -> SecretStr | None:
    """Return the key in a file; without one that which the environment says, if any.

    Raises ConfigurationError where the file cannot be read or has no key.
    """
    settings = read_settings(ClientSettings)
    file = file or settings.api_key_file
    if file is None:
        return settings.api_key
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ConfigurationError(f"the API key in {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        lines = []
    key = lines[0].strip() if lines else ""
    if not key.isprintable() or not key:
        raise ConfigurationError(f"{file} has no API key in its first line")
    return SecretStr(key)


class _Key:
    """Adds the key to the metadata of a call."""

    def __init__(self, key: SecretStr) -> None:
        self._metadata = ("x-api-key", key.get_secret_value())

    async def _with_key(
        self, proceed: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), self._metadata)
        keyed = grpc.aio.ClientCallDetails(
            details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
        )
        return await proceed(keyed, request)


class _Unary(_Key, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await self._with_key(continuation, client_call_details, request)


class _Responses(_Key, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await self._with_key(continuation, client_call_details, request)


class _Both(_Key, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._with_key(continuation, client_call_details, request_iterator)


def key_interceptors(key: SecretStr | None) -> list[grpc.aio.ClientInterceptor]:
    """Return what a channel needs to send the key with every call; nothing where there is none."""
    return [kind(key) for kind in (_Unary, _Responses, _Both)] if key is not None else []
