"""Names of the processes of a cluster, by the SPIFFE standard: spiffe://<trust domain>/<service>.

See https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md.
"""

import re
from typing import Final

from services.common.errors import ConfigurationError

SERVICES: Final = (
    "gateway",
    "preprocessing",
    "scheduler",
    "inference",
    "aggregation",
    "training",
)
"""The services that have an identity."""
OPERATOR: Final = "operator"
"""A person with a certificate of their own, or the command line on their behalf."""
DEFAULT_TRUST_DOMAIN: Final = "facet"

_OTHER_NAMES: Final = {"training-worker": "training"}
"""Registry's name of a service → its identity, where they differ."""
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")


def spiffe_id(trust_domain: str, service: str) -> str:
    """Return the identity of a service; ConfigurationError where the domain has no such name."""
    if not _DOMAIN.fullmatch(trust_domain):
        raise ConfigurationError(
            f"FACET_TRUST_DOMAIN={trust_domain!r} is no trust domain: a-z, 0-9, dots, dashes and "
            "underscores"
        )
    return f"spiffe://{trust_domain}/{_OTHER_NAMES.get(service, service)}"
