"""Deployments of docker/kubernetes as pods that podman can play.

A Deployment becomes one Pod. What only a cluster can give is put in by hand: the downward API, the
registry of a node, Secrets and claims of volumes, which become folders of this machine. Ports are
not named, since podman would publish those of all pods at the same address.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.kubernetes.manifests import Document

PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")
"""By gRPC, which podman does not know."""


def pod_of(
    deployment: Document,
    folders: Mapping[str, Path],
    environment: Mapping[str, str],
    images: Mapping[str, str],
) -> Document:
    """Return a Deployment's pod.

    `folders`: the name of a Secret or of a claim → what is mounted in its place. `environment`:
    what stands in for the variables that refer to the cluster. `images`: the service → its image.
    """
    name = deployment["metadata"]["name"]
    template = copy.deepcopy(deployment["spec"]["template"])
    spec = template["spec"]
    spec["volumes"] = [_volume(volume, folders) for volume in spec["volumes"]]
    (container,) = spec["containers"]
    container["image"] = images[name.removeprefix("facet-")]
    container["envFrom"] = [one for one in container["envFrom"] if "configMapRef" in one]
    own = [one for one in container["env"] if "valueFrom" not in one]
    container["env"] = [one for one in own if one["name"] not in environment] + [
        {"name": key, "value": value} for key, value in environment.items()
    ]
    for part in (*PROBES, "ports"):
        del container[part]
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def _volume(volume: dict[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    secret = volume.get("secret")
    if secret is None and "persistentVolumeClaim" not in volume:
        return volume
    source = secret["secretName"] if secret else volume["persistentVolumeClaim"]["claimName"]
    return {
        "name": volume["name"],
        "hostPath": {"path": str(folders[source]), "type": "Directory"},
    }
