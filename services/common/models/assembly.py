"""Making an ensemble of versions that are there, and finding the ensembles that need a version."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from services.common.errors import InvalidRequestError, ModelNotFoundError, ModelRefusedError
from services.common.models.ensemble import MAX_MEMBERS, MIN_MEMBERS, Ensemble, Member, Rule
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest, Outputs, VersionContent
from services.common.models.repository import ModelRepository


def publish_ensemble(
    repository: ModelRepository, name: str, members: Mapping[ModelKey, float], rule: Rule
) -> Manifest:
    """Publish an ensemble as the next version of `name`, and return its manifest.

    `members` has the weight of each; only their proportions matter. Raises ModelNotFoundError
    when there is no such member, ModelRefusedError when one is not whole, and InvalidRequestError
    (with the first difference) when they do not answer alike.
    """
    if not MIN_MEMBERS <= len(members) <= MAX_MEMBERS:
        raise InvalidRequestError(
            f"an ensemble has {MIN_MEMBERS} to {MAX_MEMBERS} different members, not {len(members)}"
        )
    weights = shares_of(members, rule)
    manifests = [repository.load_manifest(*key) for key in members]
    for manifest in manifests:
        repository.verify(manifest)
    content = _content(manifests, weights, rule)

    def build(_: Path) -> VersionContent:
        return content

    return repository.publish(name, build)


def shares_of(members: Mapping[ModelKey, float], rule: Rule) -> list[float]:
    """Return the weights of the members, in order, so that they add up to 1.

    Raises InvalidRequestError for weights that are not above 0 and finite, that differ in a mean,
    or that vanish beside others.
    """
    for key, weight in members.items():
        if not (math.isfinite(weight) and weight > 0):
            raise InvalidRequestError(f"the weight of {key} must be above 0, not {weight:g}")
    largest = max(members.values())
    if rule == "mean" and min(members.values()) != largest:
        raise InvalidRequestError("a mean has no weights: the rule for them is weighted")
    shares = [weight / largest for weight in members.values()]
    if min(shares) / sum(shares) == 0:
        raise InvalidRequestError("a weight is so small beside another that it has no effect")
    return [share / sum(shares) for share in shares]


def ensembles_with(repository: ModelRepository, member: ModelKey) -> list[ModelKey]:
    """Return the ensembles that a version is a member of, sorted."""
    found = []
    for name in repository.list_models():
        for version in repository.versions(name):
            try:
                ensemble = repository.load_manifest(name, version).ensemble
            except (ModelNotFoundError, ModelRefusedError):
                continue  # it is served by nobody
            if ensemble is not None and member in ensemble.keys:
                found.append(ModelKey(name, version))
    return found


def _content(manifests: Sequence[Manifest], weights: Sequence[float], rule: Rule) -> VersionContent:
    first, *others = manifests
    for manifest in manifests:
        if manifest.ensemble is not None:
            raise InvalidRequestError(
                f"{manifest.key} is an ensemble itself: name its members instead"
            )
    for other in others:
        _check_same_classes(first, other)
    ensemble = Ensemble(
        rule=rule,
        members=tuple(
            Member(name=manifest.name, version=manifest.version, weight=weight)
            for manifest, weight in zip(manifests, weights, strict=True)
        ),
    )
    return VersionContent(
        source=str(ensemble),
        input=first.input,
        preprocessing=first.preprocessing,
        outputs=Outputs(classes=len(first.labels), activation=_activation(manifests, rule)),
        ensemble=ensemble,
        labels=first.labels,
    )


def _check_same_classes(one: Manifest, other: Manifest) -> None:
    if len(one.labels) != len(other.labels):
        raise InvalidRequestError(
            f"{one.key} has {len(one.labels)} classes, and {other.key} {len(other.labels)}"
        )
    for index, (mine, yours) in enumerate(zip(one.labels, other.labels, strict=True)):
        if mine != yours:
            raise InvalidRequestError(
                f"{one.key} and {other.key} differ in class {index}: {mine!r} and {yours!r}"
            )


def _activation(
    manifests: Sequence[Manifest], rule: Rule
) -> Literal["softmax", "sigmoid", "linear"]:
    kinds = {manifest.outputs.activation: manifest.key for manifest in reversed(manifests)}
    if rule == "vote":
        return "softmax"  # shares of votes
    if len(kinds) > 1 and "linear" in kinds:
        bounded = next(key for kind, key in kinds.items() if kind != "linear")
        raise InvalidRequestError(
            f"{kinds['linear']} gives scores of any size and {bounded} scores of 0 to 1: their "
            f"mean would be that of the former alone; the rule vote does not compare them"
        )
    if len(kinds) == 1:
        return manifests[0].outputs.activation
    return "sigmoid"


def check_not_needed(repository: ModelRepository, key: ModelKey) -> None:
    """Raise InvalidRequestError (IN_USE) when an ensemble needs a version."""
    if needed := ensembles_with(repository, key):
        raise InvalidRequestError(
            f"{key} is a member of {', '.join(map(str, needed))}: remove that first",
            reason="IN_USE",
        )
