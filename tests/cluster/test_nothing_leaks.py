"""Pictures, keys and tokens come in, by every path; none of them is written down anywhere."""

import base64
import hashlib
import io
import json
import secrets
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image

from facet.launcher.plan import MODULES, ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.credentials.api_keys import new_key
from services.common.credentials.key_file import write_keys
from services.common.credentials.scopes import Scope
from tests.cluster.commands import facet_here, says
from tests.cluster.crashing_preprocessing import FAULTY, POISON
from tests.cluster.running import RunningCluster, run
from tests.gateway.door.issuer import token, token_settings
from tests.reasons import reason_of_call

MARK = secrets.token_hex(24)
"""Is in every picture: letters, which no way of quoting changes."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A cluster behind a door, and the credentials that open it."""

    running: RunningCluster
    key: str
    admin: str


@pytest.fixture(scope="module")
def guarded(
    make_plan: Callable[..., ClusterPlan], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("credentials")
    (key, kept), (admin, kept_admin) = (
        new_key("acme", [Scope.RECOGNISE]),
        new_key("ops", [Scope.ADMIN, Scope.RECOGNISE]),
    )
    write_keys(folder / "keys.json", [kept, kept_admin])
    settings = {
        "FACET_LOG_LEVEL": "debug",
        "FACET_LOG_FORMAT": "json",
        "FACET_API_KEYS": str(folder / "keys.json"),
        **{f"FACET_{name.upper()}": str(value) for name, value in token_settings(folder).items()},
    }
    modules = {**MODULES, "preprocessing": "tests.cluster.crashing_preprocessing"}
    plan = make_plan(modules=modules, instances={"inference": 1}, settings=settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACET_API_KEY", admin)
        with run(plan) as running:
            yield Guarded(running, key, admin)


def pictures() -> list[bytes]:
    """One that is fine, and some that are not; each has the mark in it."""
    mark = MARK.encode()
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.new("L", (28, 28), 90).save(jpeg, "JPEG", comment=mark)
    Image.new("L", (28, 28), 90).save(png, "PNG")
    return [
        jpeg.getvalue(),
        jpeg.getvalue()[:-40],
        b"\xff\xd8" + mark,
        png.getvalue()[:40] + mark,
        mark,
        FAULTY + mark,
    ]


def request(*contents: bytes, model: str = "digits") -> recognition_pb2.RecognizeRequest:
    """A request with these."""
    return recognition_pb2.RecognizeRequest(
        model=recognition_pb2.ModelSelector(name=model),
        images=[recognition_pb2.Image(content=content) for content in contents],
    )


def outcome(guarded: Guarded, what: recognition_pb2.RecognizeRequest, *credential: str) -> str:
    """What a call comes to; what its caller is told is his own."""
    metadata = [credential] if credential else []
    try:
        guarded.running.recognition.Recognize(what, metadata=metadata, timeout=60)
    except grpc.RpcError as error:
        return str(cast(grpc.Call, error).code().name)  # both, at run time
    return "OK"


def needles(*texts: str) -> dict[bytes, str]:
    """How each of them could be written down → the text."""
    found: dict[bytes, str] = {}
    for text in texts:
        raw = text.encode()
        found[raw] = found[raw.hex().encode()] = text
        for shift in range(3):  # wherever it begins in what is encoded
            encoded = base64.b64encode(b"\0" * shift + raw)
            found[encoded[4:-4]] = text
            found[base64.urlsafe_b64encode(b"\0" * shift + raw)[4:-4]] = text
    return found


def written(home: Path) -> dict[str, bytes]:
    """All that the cluster has written, and what its processes tell those who measure them."""
    found = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for path in (home / "registry").rglob("*.json"):
        meta = json.loads(path.read_bytes()).get("meta", {})
        if port := meta.get("metrics_port"):
            url = f"http://127.0.0.1:{port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                found[url] = answer.read()
    return found


def test_nothing_of_pictures_and_credentials_is_written_down(guarded: Guarded) -> None:
    good, expired, forged = token(), token(exp=1), token(aud="else")
    wrong = guarded.key[:-4] + "AAAA"
    fine, *broken = pictures()
    assert outcome(guarded, request(fine), "x-api-key", guarded.key) == "OK"
    assert outcome(guarded, request(fine), "authorization", f"Bearer {good}") == "OK"
    for credential in (wrong, expired, forged, MARK):
        assert outcome(guarded, request(fine), "x-api-key", credential) == "UNAUTHENTICATED"
    assert outcome(guarded, request(fine)) == "UNAUTHENTICATED"
    assert outcome(guarded, request(fine, model="nothing"), "x-api-key", guarded.key) == "NOT_FOUND"
    for content in broken[:-1]:
        assert outcome(guarded, request(content), "x-api-key", guarded.key) == "OK"
    # An unforeseen fault in a decoder is logged with its trace; the last one kills it.
    assert outcome(guarded, request(broken[-1]), "x-api-key", guarded.key) == "INTERNAL"
    assert outcome(guarded, request(fine, POISON), "x-api-key", guarded.key) == "OK"
    torn: Any = guarded.running.channel.unary_unary(
        "/facet.recognition.v1.RecognitionService/Recognize"
    )
    with pytest.raises(grpc.RpcError):
        torn(b"\xff" + MARK.encode(), metadata=[("x-api-key", guarded.key)], timeout=60)

    files = written(guarded.running.plan.home)
    logs = b"".join(content for name, content in files.items() if name.endswith(".log"))
    assert b"RuntimeError" in logs  # the paths that are to be looked at were taken
    assert b"preprocessing lost" in logs
    secret = [guarded.key, guarded.admin, wrong]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (*secret, good)]
    parts = [part for each in (good, expired, forged) for part in each.split(".")[1:]]
    for needle, text in needles(MARK, *(key[19:] for key in secret), *hashes, *parts).items():
        assert len(needle) > 12
        for name, content in files.items():
            assert needle not in content, f"{text} is in {name}"


def test_reflection_is_for_anybody_with_a_credential_and_health_for_all(guarded: Guarded) -> None:
    channel = guarded.running.channel
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = reflection.ServerReflectionInfo(
        iter([question]), metadata=[("x-api-key", guarded.key)], timeout=60
    )
    assert len(answer.list_services_response.service) == 4
    with pytest.raises(grpc.RpcError) as raised:
        list(reflection.ServerReflectionInfo(iter([question]), timeout=60))
    assert reason_of_call(raised.value) == "CREDENTIALS_MISSING"
    health: Any = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_commands_send_the_key_of_the_environment_or_of_a_file(
    guarded: Guarded, tmp_path: Path
) -> None:
    gateway = ("--gateway", guarded.running.gateway)
    picture, file = tmp_path / "picture.jpg", tmp_path / "key"
    picture.write_bytes(pictures()[0])
    file.write_text(f"{guarded.admin}\n")
    by_file = ("--api-key-file", str(file))
    done = facet_here("classify", str(picture), *gateway, *by_file, FACET_API_KEY="wrong")
    assert done.returncode == 0, done.stderr
    without = facet_here("wait", *gateway, FACET_API_KEY="")
    assert without.returncode == 1
    assert says(without, "this gateway asks for a credential")
    forbidden = facet_here("status", *gateway, FACET_API_KEY=guarded.key)
    assert forbidden.returncode == 1
    assert says(forbidden, "must have the scope admin")
