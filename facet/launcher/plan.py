"""Which processes make a cluster on one machine, and with what environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.common.process import WILDCARDS
from services.common.security.files import files_in

# Messages of images are large and short-lived: without these glibc maps and unmaps each.
MALLOC_ENVIRONMENT: Final = {
    "MALLOC_MMAP_THRESHOLD_": "134217728",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "67108864",
}

MODULES: Final[Mapping[str, str]] = {
    "scheduler": "services.scheduler",
    "preprocessing": "services.preprocessing",
    "aggregation": "services.aggregation",
    "inference": "services.inference",
    "gateway": "gateway",
}
"""Service → the module that runs it. In the order in which a cluster starts."""


FOR_ONE_PROCESS: Final = (
    "FACET_HOST",
    "FACET_PORT",
    "FACET_ADVERTISE_HOST",
    "FACET_SHARED_PORT",
    "FACET_HEALTH_PORT",
    "FACET_TLS_CERT",
    "FACET_TLS_KEY",
    "FACET_TLS_CA",
)
"""Settings of the environment that cannot be meant for many processes of one machine."""


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process to keep running."""

    name: str
    """Such as inference-2."""
    service: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A cluster on this machine."""

    home: Path
    """Folder of all its state; two clusters have two."""
    port: int = 50051
    """The gateway's public port; 0: any free one."""
    host: str = "127.0.0.1"
    """Address that the gateway listens on."""
    instances: Mapping[str, int] = field(default_factory=lambda: {"inference": 2})
    """How many processes of a service, where it is not one."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further settings of all processes: FACET_<NAME> → value."""
    modules: Mapping[str, str] = field(default_factory=lambda: MODULES)
    tls: Path | None = None
    """Folder of the certificates, as `facet certs lab` makes it; None: plain text."""

    def processes(self) -> list[ProcessPlan]:
        """Return every process, in the order of the start."""
        return [
            self._process(service, module, number)
            for service, module in self.modules.items()
            for number in range(1, self.instances.get(service, 1) + 1)
        ]

    @property
    def gateways(self) -> int:
        """How many gateways there are; several share the port."""
        return self.instances.get("gateway", 1)

    @property
    def public_address(self) -> str:
        """host:port at which clients of this machine reach the gateways."""
        host = "127.0.0.1" if self.host in WILDCARDS else self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def _doors(self) -> dict[str, str]:
        port = "FACET_SHARED_PORT" if self.gateways > 1 else "FACET_PORT"
        return {
            "FACET_HOST": self.host,
            "FACET_ADVERTISE_HOST": "127.0.0.1" if self.host in WILDCARDS else self.host,
            "FACET_PORT": "0",
            port: str(self.port),
            "FACET_GATEWAYS": str(self.gateways),
        }

    def _log_format(self) -> str:
        """Text, unless something else is asked for: people read the files."""
        return {**os.environ, **self.settings}.get("FACET_LOG_FORMAT") or "text"

    def _process(self, service: str, module: str, number: int) -> ProcessPlan:
        name = f"{service}-{number}"
        environment = {
            **MALLOC_ENVIRONMENT,
            **os.environ,
            "FACET_HOME": str(self.home),
            **self.settings,
            "FACET_LOG_FORMAT": self._log_format(),
            "FACET_NAME": name,
            "FACET_DIE_WITH_PARENT": "true",
        }
        for setting in FOR_ONE_PROCESS:
            environment.pop(setting, None)
        environment.pop("FACET_API_KEY", None)  # the launcher's own, as a client
        if self.tls is not None:
            files = files_in(self.tls, service)
            environment |= {
                "FACET_TLS_CERT": str(files.certificate),
                "FACET_TLS_KEY": str(files.key),
                "FACET_TLS_CA": str(files.ca),
            }
        if service == "gateway":
            environment |= self._doors()
        return ProcessPlan(name, service, (sys.executable, "-m", module), environment)
