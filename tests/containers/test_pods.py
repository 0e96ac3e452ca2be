"""docker/kubernetes, rendered and run: its pods serve on mutual TLS, and nobody in them is root."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from facet.launcher.plan import MODULES
from services.common.models.repository import ModelRepository
from services.training.data.digits import load_digits_dataset
from tests.cluster.commands import facet
from tests.containers.engine import NETWORK, Engine
from tests.containers.pods import pod_of
from tests.kubernetes.manifests import FOLDER, Document, of_kind, render

pytestmark = pytest.mark.timeout(1800)

CONSUL, GATEWAY = "10.89.77.11", "10.89.77.20"
USER = "65532"


def readable(folder: Path) -> Path:
    """Let everybody read a folder, as a pod's user is nobody whom this machine knows."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def secrets(folder: Path) -> dict[str, Path]:
    """Make the Secrets that docs/operations.md lists, as folders."""
    lab = folder / "lab"
    assert facet("certs", "lab", str(lab), "--host", GATEWAY).returncode == 0
    made = {f"facet-{service}-tls": folder / service for service in MODULES}
    for service in MODULES:
        (folder / service).mkdir()
        for source, name in (
            ("ca.pem", "ca.crt"),
            (f"{service}.pem", "tls.crt"),
            (f"{service}-key.pem", "tls.key"),
        ):
            shutil.copy(lab / source, folder / service / name)
    keys = folder / "keys"
    keys.mkdir()
    words = ("keys", "new", str(keys / "api-keys"), "--tenant=pods")
    key = facet(*words, "--scope=recognise", "--scope=admin")
    assert key.returncode == 0, key.stderr
    (folder / "key").write_text(key.stdout)
    return made | {"facet-api-keys": keys}


@pytest.fixture(scope="module")
def rendered() -> list[Document]:
    """The overlay for CPUs."""
    return render(FOLDER / "overlays" / "cpu")


@pytest.fixture(scope="module")
def pods(
    rendered: list[Document],
    engine: Engine,
    images: dict[str, str],
    consul_image: str,
    digits_repository: ModelRepository,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A pod of each service and a Consul; gives the folder of the secrets."""
    folder = tmp_path_factory.mktemp("pods")
    models = folder / "models"
    shutil.copytree(digits_repository.root, models)
    folders = {**secrets(folder), "facet-models": models}
    readable(folder)
    engine(
        *("run", "--detach", "--name=pods-consul", f"--network={NETWORK}:ip={CONSUL}"),
        *(consul_image, "agent", "-dev", "-client=0.0.0.0", f"-bind={CONSUL}"),
        *("-log-level=warn", "-disable-host-node-id"),
    )
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump_all(of_kind(rendered, "ConfigMap").values()))
    registry = {"FACET_REGISTRY": f"consul://{CONSUL}:8500"}
    played = []
    for name, deployment in of_kind(rendered, "Deployment").items():
        pod = folder / f"{name}.yaml"
        pod.write_text(yaml.safe_dump(pod_of(deployment, folders, registry, images)))
        address = ("--ip", GATEWAY) if name == "facet-gateway" else ()
        engine(
            *("kube", "play", f"--network={NETWORK}", f"--configmap={settings}", *address, str(pod))
        )
        played.append(pod)
    yield folder
    for pod in played:
        engine("kube", "down", str(pod))
    engine("rm", "--force", "pods-consul")


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A held-out digit as a file."""
    path = tmp_path_factory.mktemp("picture") / "digit.png"
    Image.fromarray(load_digits_dataset().test_images[0][..., 0]).save(path)
    return path


def test_pods_classify_a_picture_by_tls_and_with_a_key(pods: Path, digit: Path) -> None:
    door = ("--gateway", f"{GATEWAY}:50051", "--tls-ca", str(pods / "lab" / "ca.pem"))
    key = ("--api-key-file", str(pods / "key"))
    waited = facet("wait", *door, *key)
    assert waited.returncode == 0, waited.stderr
    done = facet("classify", str(digit), "--json", *door, *key)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    nobody = facet("classify", str(digit), *door)
    assert nobody.returncode != 0, "the gateway takes those without a key"


def test_in_pods_nobody_is_root_and_nothing_can_be_written(pods: Path, engine: Engine) -> None:
    for service in MODULES:
        name = f"facet-{service}-facet"
        processes = engine.processes(name)
        assert processes
        for process in processes:
            assert process["Uid"].split() == [USER] * 4, name
            assert int(process["CapEff"], 16) == 0, name
            assert process["NoNewPrivs"] == "1", name
        assert engine("exec", name, "touch", "/opt/facet/written", check=False).returncode != 0
        assert engine("exec", name, "touch", "/var/lib/facet/written").returncode == 0
