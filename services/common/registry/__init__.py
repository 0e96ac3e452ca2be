"""Who is in the cluster: membership, leadership and configuration. Never load.

`interface` says what a registry does; `directory` does it on one machine, `consul` on many.
`open_registry` picks by URL.
"""

from services.common.registry.interface import (
    HEALTH_PORT_KEY,
    Instance,
    Registration,
    Registry,
    View,
)
from services.common.registry.urls import open_registry

__all__ = [
    "HEALTH_PORT_KEY",
    "Instance",
    "Registration",
    "Registry",
    "View",
    "open_registry",
]
