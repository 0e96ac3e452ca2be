"""The settings that every service has. Each is also the environment variable FACET_<NAME>."""

import secrets
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.errors import ConfigurationError
from services.common.models.cache import FileCache
from services.common.registry.access import ConsulAccess
from services.common.security.files import TlsFiles, complete_files
from services.common.security.identity import DEFAULT_TRUST_DOMAIN

SettingsT = TypeVar("SettingsT", bound=BaseSettings)

DEFAULT_HOME = Path("~/.facet")


class CommonSettings(BaseSettings):
    """Read once, in the composition root, and frozen."""

    model_config = SettingsConfigDict(
        env_prefix="FACET_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    home: Path = DEFAULT_HOME
    """Folder of all state of this machine's part of the cluster: models, logs, registry."""
    registry: str = ""
    """file:///path, consul://host:port[/prefix], or consuls:// where Consul speaks TLS; empty: the
    folder `registry` in `home`."""
    consul_token: SecretStr | None = None
    """ACL token for Consul."""
    models: str = ""
    """The model repository: a path, file:///path or any URL that fsspec knows, such as
    s3://bucket/prefix; empty: the folder `models` in `home`."""
    cache: Path | None = None
    """Folder for copies of a remote repository's files; by default `cache` in `home`."""
    cache_bytes: int = Field(default=20 * 2**30, ge=0)
    """Bytes that the cache may take; what was not used for the longest time goes first."""
    consul_token_file: Path | None = None
    """File with the ACL token for Consul, in the place of `consul_token`; it may change."""
    consul_ca: Path | None = None
    """PEM file of the authorities that may have signed Consul's certificate; for consuls://."""
    consul_cert: Path | None = None
    """PEM file of the certificate that is shown to Consul, where it wants one."""
    consul_key: Path | None = None
    """PEM file of the key of `consul_cert`."""
    tls_cert: Path | None = None
    """PEM file of this process's certificate; with it, `tls_key` and `tls_ca` every link inside
    the cluster is mutual TLS."""
    tls_key: Path | None = None
    """PEM file of the key of `tls_cert`."""
    tls_ca: Path | None = None
    """PEM file of the authorities that sign the cluster's certificates."""
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    """The domain of the identities in certificates: spiffe://<trust domain>/<service>."""

    @property
    def home_path(self) -> Path:
        """`home`, absolute."""
        return self.home.expanduser().resolve()

    @property
    def registry_url(self) -> str:
        """`registry`, or its default."""
        return self.registry or (self.home_path / "registry").as_uri()

    @property
    def consul_access(self) -> ConsulAccess:
        """What opens a Consul: token and certificates."""
        return ConsulAccess(
            self.consul_token.get_secret_value() if self.consul_token else None,
            self.consul_token_file,
            self.consul_ca,
            self.consul_cert,
            self.consul_key,
        )

    @property
    def tls_files(self) -> TlsFiles | None:
        """The certificates of links inside the cluster; None: plain text. ConfigurationError."""
        return complete_files(self.tls_cert, self.tls_key, self.tls_ca)

    @property
    def models_url(self) -> str:
        """`models`, or its default."""
        return self.models or (self.home_path / "models").as_uri()

    def file_cache(self) -> FileCache:
        """Return the cache of a remote repository's files."""
        folder = self.cache.expanduser() if self.cache else self.home_path / "cache"
        return FileCache(folder.absolute(), self.cache_bytes)


class ServiceSettings(CommonSettings):
    """What a serving process needs."""

    name: str = ""
    """Name of the instance, such as inference-1; empty: the service's name."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port to listen on; 0: any free one, which the registry makes known."""
    advertise_host: str = ""
    """Address at which other processes reach this one; empty: `host`, or where that is a wildcard
    (0.0.0.0), the address from which this machine would send to others."""
    drain_s: float = Field(default=10.0, ge=0)
    """Seconds that work in hand has to finish after SIGTERM."""
    max_message_bytes: int = Field(default=-1, ge=-1)
    """Bytes of the largest message that is taken in; -1: no limit."""
    die_with_parent: bool = False
    """Stop when the process that started this one ends, however it ends."""
    log_format: Literal["", "text", "json"] = ""
    """How log lines are written to standard error: text for people or json for collectors; empty:
    text where that is a terminal, else json."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are written."""
    traces: str = ""
    """Where spans of requests are sent, by OTLP over gRPC, such as http://localhost:4317; empty:
    nowhere."""
    traces_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of requests that are traced, of those whose caller has not decided it; the gateway's
    counts."""
    metrics_port: int = Field(default=0, ge=-1, le=65535)
    """Port of `host` at which Prometheus reads /metrics over HTTP; 0: any free one, which the
    registry makes known; -1: none."""
    insecure: bool = False
    """Allow plain text on an address that other machines reach: the network itself is trusted."""
    health_port: int = Field(default=0, ge=0, le=65535)
    """Port of grpc.health.v1 in plain text, for checks that have no certificate: with TLS always
    (0: any free port), without TLS when it is given."""

    is_public: ClassVar[bool] = False
    """The main port is for clients from outside, who need no certificate."""
    door_hint: ClassVar[str] = "FACET_TLS_CERT, FACET_TLS_KEY and FACET_TLS_CA"
    """The settings that make the main port TLS."""

    @property
    def door_files(self) -> TlsFiles | None:
        """The certificates of the main port; None: plain text. ConfigurationError."""
        return self.tls_files

    @property
    def allows_plain_text(self) -> bool:
        """The main port may be plain text, whoever reaches it."""
        return self.insecure

    def instance_id(self, service: str) -> str:
        """Return a new id for this process: its name and something that no other has."""
        return f"{self.name or service}-{secrets.token_hex(3)}"


def read_settings(settings_type: type[SettingsT], **given: Any) -> SettingsT:
    """Return settings from the environment and what is given, which wins.

    Raises ConfigurationError with a line for each setting that is wrong.
    """
    try:
        return settings_type(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"FACET_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(problems) from None
