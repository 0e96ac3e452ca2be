"""Which of the repository's versions are ensembles, and what they need.

A shard runs none itself: it runs their members, and tells gateways of the ensembles.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from facet.type.v1 import model_pb2
from services.common.errors import ModelNotFoundError, ModelRefusedError
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository


@dataclass(slots=True)
class Ensembles:
    """The ensembles among some versions."""

    descriptors: dict[ModelKey, model_pb2.ModelDescriptor] = field(default_factory=dict)
    """Of those whose members are all in the repository."""
    refused: dict[ModelKey, str] = field(default_factory=dict)
    """The others, and which member is missing."""
    members: set[ModelKey] = field(default_factory=set)
    """Versions that are to be loaded for them, however old."""


def find_ensembles(repository: ModelRepository, versions: Iterable[ModelKey]) -> Ensembles:
    """Return the ensembles among these versions, by their manifests.

    A manifest that is not whole is passed over here: loading the version tells what is wrong.
    """
    found = Ensembles()
    for key in versions:
        try:
            manifest = repository.load_manifest(*key)
        except (ModelNotFoundError, ModelRefusedError):
            continue
        if manifest.ensemble is None:
            continue
        there = {
            member
            for member in manifest.ensemble.keys
            if member.version in repository.versions(member.name)
        }
        if missing := [str(member) for member in manifest.ensemble.keys if member not in there]:
            found.refused[key] = f"not in the repository: {', '.join(missing)}"
        else:
            found.descriptors[key] = manifest.to_descriptor(max_batch=0, engine="")
            found.members |= there
    return found
