"""Whether a new version is the one that answers to its model's name.

Left to itself, a version is promoted when it is the first one, or when it recognises the same
held-out pictures no worse than the promoted version does. What cannot be compared is published
and not promoted; a person may.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from services.common.errors import ModelNotFoundError, ModelRefusedError
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository

HELD_OUT_ACCURACY: Final = "held_out_accuracy"
"""The metric of a version that is compared: the share of held-out pictures it recognises."""
HELD_OUT_DIGEST: Final = "held_out_digest"
"""The entry in a version's `training` that names what was held out: Dataset.held_out_digest."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was decided about a version."""

    promoted: bool
    why: str
    """A part of a sentence, to follow "promoted" or "not promoted"."""


def decide(new: Manifest, incumbent: Manifest | None, others: Collection[int]) -> Promotion:
    """Decide whether a version is promoted, where nobody said so.

    `incumbent` is the promoted version, if any; `others` are the model's other versions.
    """
    if incumbent is None:
        if others:
            return Promotion(False, "no version is: the newest answers to the bare name")
        return Promotion(True, "it is the first version")
    before = ModelKey(incumbent.name, incumbent.version)
    accuracy, bar = (each.metrics.get(HELD_OUT_ACCURACY) for each in (new, incumbent))
    if bar is None or accuracy is None:
        return Promotion(False, f"{before} was never measured on held-out pictures")
    digest, known = ((each.training or {}).get(HELD_OUT_DIGEST) for each in (new, incumbent))
    if digest is None or digest != known:
        return Promotion(False, f"{before} was measured on other held-out pictures")
    figures = f"{accuracy:.2%} right, and {before} has {bar:.2%} on the same pictures"
    return Promotion(accuracy >= bar, figures)


def release(repository: ModelRepository, new: Manifest, wanted: bool | None) -> Promotion:
    """Promote a published version, or don't; None: as `decide` decides.

    Raises InvalidRequestError (RETIRED) when somebody has retired the version meanwhile, and
    UnavailableError when the repository cannot be written.
    """
    decided: list[Promotion] = []

    def change(releases: Releases) -> Releases:
        # Again with what another process decided meanwhile: the last decision counts.
        decided.append(_decision(repository, new, wanted, releases))
        return releases.promote(new.version) if decided[-1].promoted else releases

    repository.change_releases(new.name, change)
    return decided[-1]


def _decision(
    repository: ModelRepository, new: Manifest, wanted: bool | None, releases: Releases
) -> Promotion:
    if wanted is not None:
        return Promotion(wanted, "as was asked for")
    others = set(repository.versions(new.name)) - {new.version}
    if releases.promoted is None:
        return decide(new, None, others)
    try:
        incumbent = repository.load_manifest(new.name, releases.promoted)
    except (ModelNotFoundError, ModelRefusedError) as error:
        return Promotion(False, f"it cannot be compared with the promoted version: {error.message}")
    return decide(new, incumbent, others)
