"""What a person does with grpcurl, with the real grpcurl."""

import base64
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.running import RunningCluster
from tests.conftest import need
from tests.tools import find_tool

SERVICES = {
    "gateway": {
        "facet.recognition.v1.RecognitionService",
        "facet.cluster.v1.ClusterService",
    },
    "preprocessing": {"facet.preprocessing.v1.PreprocessingService"},
    "scheduler": {"facet.scheduler.v1.SchedulerService"},
    "inference": {"facet.inference.v1.InferenceService"},
    "aggregation": {"facet.aggregation.v1.AggregationService"},
}
EVERYWHERE = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}

Grpcurl = Callable[..., str]


@pytest.fixture(scope="module")
def grpcurl() -> Grpcurl:
    """Runs grpcurl and returns what it prints."""
    binary = find_tool("grpcurl")
    if binary is None:
        need("consul", "there is no grpcurl; `make consul` builds it")

    def run(*arguments: str, data: str | None = None) -> str:
        given = () if data is None else ("-d", "@")
        done = subprocess.run(
            [binary, "-plaintext", "-max-time", "30", *given, *arguments],
            input=data,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def addresses(cluster: RunningCluster) -> dict[str, str]:
    """Service → address of one of its instances."""
    return {instance.service: instance.address for instance in cluster.view().instances}


@pytest.mark.parametrize("service", SERVICES)
def test_every_process_lists_describes_and_tells_its_health(
    grpcurl: Grpcurl, addresses: dict[str, str], service: str
) -> None:
    address = addresses[service]
    assert set(grpcurl(address, "list").split()) == SERVICES[service] | EVERYWHERE
    for name in SERVICES[service]:
        described = grpcurl(address, "describe", name)
        assert "is a service" in described
        for message in re.findall(r"\.(facet\.[\w.]+)", described):
            assert "is a message" in grpcurl(address, "describe", message)
        health = grpcurl(address, "grpc.health.v1.Health/Check", data=json.dumps({"service": name}))
        assert json.loads(health) == {"status": "SERVING"}
    assert json.loads(grpcurl(address, "grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_recognize(
    cluster: RunningCluster, grpcurl: Grpcurl, digit_png: Callable[[int], bytes]
) -> None:
    images = [digit_png(0), b"rubbish", digit_png(0)]
    request = {
        "model": {"name": "digits"},
        "images": [{"content": base64.b64encode(image).decode()} for image in images],
        "options": {"top_k": 3},
    }
    method = "facet.recognition.v1.RecognitionService/Recognize"
    response = json.loads(grpcurl(cluster.gateway, method, data=json.dumps(request)))
    assert response["model"] == {"name": "digits", "version": "1"}
    first, bad, third = response["results"]
    assert first == third
    assert len(first["classification"]["classes"]) == 3
    assert first["classification"]["classes"][0]["label"] == "0"
    (detail,) = bad["error"]["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail["reason"] == "UNSUPPORTED_FORMAT"

    stream = "facet.recognition.v1.RecognitionService/StreamRecognize"
    asked = "\n".join(json.dumps({"id": name, "request": request}) for name in "ab")
    assert grpcurl(cluster.gateway, stream, data=asked).count('"classification"') == 4


def test_models_and_cluster(cluster: RunningCluster, grpcurl: Grpcurl) -> None:
    service = "facet.recognition.v1.RecognitionService"
    models = json.loads(grpcurl(cluster.gateway, f"{service}/ListModels"))
    assert [model["model"]["name"] for model in models["models"]] == ["digits"]
    asked = json.dumps({"model": {"name": "digits"}})
    model = json.loads(grpcurl(cluster.gateway, f"{service}/GetModel", data=asked))
    assert model["model"]["labels"] == list("0123456789")
    view = json.loads(grpcurl(cluster.gateway, "facet.cluster.v1.ClusterService/GetCluster"))
    assert len(view["cluster"]["instances"]) == 6


def test_the_internal_services_answer_too(
    grpcurl: Grpcurl, addresses: dict[str, str], digit_png: Callable[[int], bytes]
) -> None:
    prepare = {
        "call_id": "7",
        "timeout_ms": 10_000,
        "input": {"height": 28, "width": 28, "channels": 1},
        "images": [base64.b64encode(digit_png(0)).decode()],
    }
    prepared = json.loads(
        grpcurl(
            addresses["preprocessing"],
            "facet.preprocessing.v1.PreprocessingService/Prepare",
            data=json.dumps(prepare),
        )
    )
    pixels = prepared["images"][0]["pixels"]
    assert (prepared["call_id"], len(base64.b64decode(pixels))) == ("7", 784)

    infer = {
        "call_id": "8",
        "timeout_ms": 10_000,
        "grant_id": "by-hand",
        "grant_parts": 1,
        "model": {"name": "digits", "version": "1"},
        "pieces": [{"piece_id": "1", "images": 1, "pixels": [pixels]}],
    }
    inferred = json.loads(
        grpcurl(
            addresses["inference"],
            "facet.inference.v1.InferenceService/Infer",
            data=json.dumps(infer),
        )
    )
    scores = inferred["outputs"][0]["scores"]
    combine = {
        "call_id": "9",
        "timeout_ms": 10_000,
        "items": [
            {
                "descriptor_digest": "by-hand",
                "descriptor": {"labels": list("0123456789")},
                "images": 1,
                "pieces": [{"positions": [0], "scores": scores}],
                "top_k": 1,
            }
        ],
    }
    combined = json.loads(
        grpcurl(
            addresses["aggregation"],
            "facet.aggregation.v1.AggregationService/Combine",
            data=json.dumps(combine),
        )
    )
    (result,) = combined["items"][0]["results"]
    assert result["classification"]["classes"][0]["label"] == "0"


def test_the_protos_are_enough_to_build_a_client(cluster: RunningCluster, grpcurl: Grpcurl) -> None:
    """Without reflection, from protos/ alone, as a user of another language has it."""
    protos = Path(__file__).parents[2] / "protos"
    listed = grpcurl(
        *("-import-path", str(protos), "-proto", "facet/recognition/v1/recognition.proto"),
        *(cluster.gateway, "facet.recognition.v1.RecognitionService/ListModels"),
    )
    assert '"digits"' in listed
