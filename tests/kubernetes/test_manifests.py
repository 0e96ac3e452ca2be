"""What docker/kubernetes says, against the code that it runs."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from facet.launcher.plan import MODULES
from facet.reference.sections import service_variables
from services.common.settings import ServiceSettings
from tests.conftest import ROOT
from tests.kubernetes.manifests import (
    COMPONENTS,
    FOLDER,
    OVERLAYS,
    Document,
    of_kind,
    render,
    render_with,
    service_of,
)

SERVICES = set(MODULES)
PORTS = {"grpc": "FACET_PORT", "health": "FACET_HEALTH_PORT", "metrics": "FACET_METRICS_PORT"}
OPERATORS = {"Certificate", "Issuer", "PodMonitor"}
"""Kinds that others than Kubernetes define, and that no schema is at hand for."""


@cache
def overlay(name: str) -> list[Document]:
    return render(FOLDER / "overlays" / name)


@pytest.fixture(params=OVERLAYS)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return overlay(request.param)


def pod(deployment: Document) -> Any:
    return deployment["spec"]["template"]["spec"]


def container(deployment: Document) -> Any:
    (only,) = pod(deployment)["containers"]
    return only


def settings_given(documents: list[Document], deployment: Document) -> dict[str, str]:
    """The settings of a pod: those of its ConfigMaps, and its own."""
    maps = of_kind(documents, "ConfigMap")
    found: dict[str, str] = {}
    for source in container(deployment)["envFrom"]:
        if "configMapRef" in source:
            found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {
        entry["name"]: entry.get("value", "")
        for entry in container(deployment)["env"]
        if entry["name"].startswith("FACET_")
    }


@pytest.mark.parametrize(
    ("name", "components"), [("cpu", ()), ("gpu", COMPONENTS)], ids=["plain", "all components"]
)
def test_every_document_is_what_kubernetes_takes(
    name: str, components: tuple[str, ...], tmp_path: Path
) -> None:
    for document in render_with(name, components, tmp_path):
        if document["kind"] not in OPERATORS:
            kubernetes_validate.validate(document, "1.30", strict=True)
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "facet", document


def test_every_service_has_a_deployment_that_survives_the_loss_of_a_node(
    documents: list[Document],
) -> None:
    deployments = of_kind(documents, "Deployment")
    assert set(map(service_of, deployments)) == SERVICES
    budgets = of_kind(documents, "PodDisruptionBudget")
    scalers = of_kind(documents, "HorizontalPodAutoscaler")
    for name, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budgets[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        scaled = scalers[name]["spec"]["minReplicas"] if name in scalers else None
        assert (scaled or deployment["spec"]["replicas"]) >= 2
        # A number here would take back what the autoscaler decided.
        assert not (scaled and "replicas" in deployment["spec"])


def test_every_pod_is_probed_limited_and_without_privileges(documents: list[Document]) -> None:
    accounts = of_kind(documents, "ServiceAccount")
    for name, deployment in of_kind(documents, "Deployment").items():
        spec, only = pod(deployment), container(deployment)
        assert spec["serviceAccountName"] == name
        assert spec["automountServiceAccountToken"] is False
        assert accounts[name]["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= only["resources"]["requests"].keys()
        assert "memory" in only["resources"]["limits"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert only[probe]["grpc"] == {"port": 50052}
        assert spec["topologySpreadConstraints"]
        patience_s = (
            only["livenessProbe"]["periodSeconds"] * only["livenessProbe"]["failureThreshold"]
        )
        drain_s = float(settings_given(documents, deployment)["FACET_DRAIN_S"])
        # NOT_SERVING while it drains is no reason to kill it, and Kubernetes waits for the end.
        assert drain_s < spec["terminationGracePeriodSeconds"] < patience_s


def test_every_setting_is_one_of_the_service(documents: list[Document]) -> None:
    common = {f"FACET_{name}".upper() for name in ServiceSettings.model_fields} | {
        *(entry.name for service in SERVICES for entry in service_variables(service))
    }
    for name, deployment in of_kind(documents, "Deployment").items():
        given = settings_given(documents, deployment)
        assert given.keys() - common == set()
        own = {
            entry["name"]
            for entry in container(deployment)["env"]
            if entry["name"].startswith("FACET_")
        }
        read = {entry.name for entry in service_variables(service_of(name))}
        assert own - read == set()
        for port in container(deployment)["ports"]:
            assert given[PORTS[port["name"]]] == str(port["containerPort"])


def test_files_that_settings_name_are_mounted(documents: list[Document]) -> None:
    for name, deployment in of_kind(documents, "Deployment").items():
        mounts = [mount["mountPath"] for mount in container(deployment)["volumeMounts"]]
        volumes = {volume["name"] for volume in pod(deployment)["volumes"]}
        assert {mount["name"] for mount in container(deployment)["volumeMounts"]} == volumes
        for setting, value in settings_given(documents, deployment).items():
            if value.startswith("/") and (setting != "FACET_MODELS" or "inference" in name):
                assert any(value == mount or value.startswith(f"{mount}/") for mount in mounts)


def calls_out(folder: Path) -> Iterator[str]:
    """The services that a service calls: those that it follows in the registry."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="Fleet"), args=[_, ast.Constant(value=str(service)), *_]
                ):
                    yield service
                case ast.Call(
                    func=ast.Name(id="follow_leader"), args=[_, ast.Name(id="SCHEDULER_ROLE"), *_]
                ):
                    yield "scheduler"


def named(selectors: list[Document]) -> Iterator[str]:
    for selector in selectors:
        if "podSelector" in selector and "namespaceSelector" not in selector:
            yield selector["podSelector"]["matchLabels"]["app.kubernetes.io/name"]


def test_the_network_lets_through_what_the_code_calls_and_nothing_else(
    documents: list[Document],
) -> None:
    links = {
        (service, called)
        for service, module in MODULES.items()
        for called in calls_out(ROOT.joinpath(*module.split(".")))
    }
    assert ("gateway", "preprocessing") in links
    out, into = set(), set()
    for policy in of_kind(documents, "NetworkPolicy").values():
        own = policy["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name")
        for rule in policy["spec"].get("egress", ()):
            out |= {(own, other) for other in named(rule.get("to", []))}
        for rule in policy["spec"].get("ingress", ()):
            into |= {(other, own) for other in named(rule.get("from", []))}
    assert out == links
    assert into == links


def test_what_is_not_allowed_is_denied_and_only_the_gateway_is_public(
    documents: list[Document],
) -> None:
    policies = of_kind(documents, "NetworkPolicy")
    denied = policies["default-deny"]["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies.values():
        types = set(policy["spec"]["policyTypes"])
        assert {kind for kind in ("Ingress", "Egress") if kind.lower() in policy["spec"]} <= types
    public = [
        policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for policy in policies.values()
        for rule in policy["spec"].get("ingress", ())
        if "from" not in rule
    ]
    assert public == ["gateway"]
    assert all("to" in r for p in policies.values() for r in p["spec"].get("egress", ()))


def test_images_are_those_that_are_built() -> None:
    built = {path.stem for path in (ROOT / "docker").glob("*.Dockerfile")}
    used = {
        name: {
            container(deployment)["image"]
            for deployment in of_kind(overlay(name), "Deployment").values()
        }
        for name in OVERLAYS
    }
    assert used["cpu"] == {f"facet-{service}:0.1.0" for service in SERVICES}
    assert used["gpu"] - used["cpu"] == {"facet-inference-gpu:0.1.0"}
    if not built:
        pytest.skip("needs docker/*.Dockerfile: there are none")
    names = {image.partition(":")[0] for images in used.values() for image in images}
    assert {name.removeprefix("facet-") for name in names} <= built


def test_gpu_shards_get_a_gpu_each() -> None:
    inference = of_kind(overlay("gpu"), "Deployment")["facet-inference"]
    assert container(inference)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert settings_given(overlay("gpu"), inference)["FACET_ENGINE"] == "tensorflow"
    assert pod(inference)["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert inference["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_certificates_name_the_identity_of_their_service(tmp_path: Path) -> None:
    documents = render_with("cpu", ["cert-manager"], tmp_path)
    issued = {
        doc["spec"]["secretName"]: doc["spec"]["uris"]
        for doc in of_kind(documents, "Certificate").values()
        if not doc["spec"].get("isCA")
    }
    for name, deployment in of_kind(documents, "Deployment").items():
        (secret,) = (
            volume["secret"]["secretName"]
            for volume in pod(deployment)["volumes"]
            if volume["name"] == "certs"
        )
        domain = settings_given(documents, deployment)["FACET_TRUST_DOMAIN"]
        assert issued[secret] == [f"spiffe://{domain}/{service_of(name)}"]


def test_with_an_object_store_there_is_no_volume_of_models(tmp_path: Path) -> None:
    documents = render_with("gpu", ["s3"], tmp_path)
    inference = of_kind(documents, "Deployment")["facet-inference"]
    assert settings_given(documents, inference)["FACET_MODELS"] == "s3://models/facet"
    assert "facet-models" not in of_kind(documents, "PersistentVolumeClaim")
    assert "models" not in {volume["name"] for volume in pod(inference)["volumes"]}
    assert "/models" not in {mount["mountPath"] for mount in container(inference)["volumeMounts"]}
    secrets = [
        source.get("secretRef", {}).get("name") for source in container(inference)["envFrom"]
    ]
    assert secrets[-2:] == ["facet-consul", "facet-s3"]


@pytest.mark.parametrize("components", [("consul-tls",), COMPONENTS], ids=["alone", "with all"])
def test_consul_is_asked_by_tls(components: tuple[str, ...], tmp_path: Path) -> None:
    documents = render_with("cpu", components, tmp_path)
    for deployment in of_kind(documents, "Deployment").values():
        given, only = settings_given(documents, deployment), container(deployment)
        assert given["FACET_REGISTRY"] == "consuls://$(CONSUL_HOST):8501"
        names = [entry["name"] for entry in only["env"]]
        # Kubernetes fills in what was said before.
        assert names.index("CONSUL_HOST") < names.index("FACET_REGISTRY")
        authority = Path(given["FACET_CONSUL_CA"])
        (mount,) = (m for m in only["volumeMounts"] if Path(m["mountPath"]) == authority.parent)
        assert mount["readOnly"] is True
        (volume,) = (v for v in pod(deployment)["volumes"] if v["name"] == mount["name"])
        assert volume["secret"] == {"secretName": "facet-consul-ca"}
