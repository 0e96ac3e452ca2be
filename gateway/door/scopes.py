"""What a credential must be good for, service by service.

A service that is not in the table is nobody's: a new one stays closed until it is put here.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION

from services.common.credentials.scopes import Scope


class Access(Enum):
    """What a method asks for besides scopes."""

    OPEN = "no credential"
    ANY = "any good credential"
    CLOSED = "is for nobody"


NEEDED: Final[Mapping[str, Scope | Access]] = {
    "facet.recognition.v1.RecognitionService": Scope.RECOGNISE,
    "facet.cluster.v1.ClusterService": Scope.ADMIN,
    HEALTH: Access.OPEN,  # load balancers and kubelets have no keys
    REFLECTION: Access.ANY,  # it tells what the protos in public tell, but not to everybody
}


def needed(path: str) -> Scope | Access:
    """Return what a method asks for, by its path, such as /package.Service/Method."""
    return NEEDED.get(path[1:].rpartition("/")[0], Access.CLOSED)
