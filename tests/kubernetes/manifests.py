"""Rendering docker/kubernetes: every document of an overlay, with components if need be."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT, need
from tests.tools import find_tool

FOLDER = ROOT / "docker" / "kubernetes"
OVERLAYS = ("cpu", "gpu")
COMPONENTS = tuple(sorted(path.parent.name for path in FOLDER.glob("components/*/*ization.yaml")))

Document = dict[str, Any]


def render(folder: Path) -> list[Document]:
    """Return what kustomize makes of a folder; skips the test where there is no kustomize."""
    kubectl, kustomize = shutil.which("kubectl"), find_tool("kustomize")
    if kubectl is None and kustomize is None:
        need("kustomize", "there is neither kustomize nor kubectl; `make kustomize` builds one")
    command = [str(kustomize), "build"] if kustomize else [str(kubectl), "kustomize"]
    done = subprocess.run([*command, folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def render_with(overlay: str, components: Sequence[str], folder: Path) -> list[Document]:
    """Return an overlay with components, put together in an empty folder as users do."""
    below = os.path.relpath(FOLDER, folder.resolve())
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{below}/overlays/{overlay}"],
        "components": [f"{below}/components/{name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(folder)


def of_kind(documents: Sequence[Document], kind: str) -> dict[str, Document]:
    """Return the documents of a kind by name."""
    return {doc["metadata"]["name"]: doc for doc in documents if doc["kind"] == kind}


def service_of(name: str) -> str:
    """Return the service that an object such as facet-gateway belongs to."""
    return name.removeprefix("facet-")
