"""A cluster that registers with a real Consul, as a real Prometheus sees it."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from facet.cli.metrics import SERVICES
from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.metrics.targets import current_targets
from services.common.registry import open_registry
from services.training.distributed.servicer import TrainingWorkerServicer
from services.training.metrics import MetricsFile
from services.training.progress import SilentProgress
from tests.cluster.commands import facet_here
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import RunningCluster, run
from tests.conftest import ROOT
from tests.fixtures_consul import ConsulServer
from tests.fixtures_prometheus import Prometheus, prometheus_binary, run_prometheus  # noqa: F401
from tests.monitoring.files import (
    config_with_files,
    expressions_of_rules,
    expressions_of_the_dashboard,
    names_in,
    recorded,
)

PREFIX: Final = "metrics"
REQUESTS, GOOD = 6, 4
"""Each request has one picture more, which is none."""
CONDITIONAL: Final = frozenset({"facet_certificate_expiry_seconds"})
"""Only processes with a certificate tell it."""
STANDARD: Final = ("process_", "python_")
"""Of prometheus_client, which documents them."""
ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def seen(
    shared_consul: ConsulServer,
    make_plan: Callable[..., ClusterPlan],
    digits_request: ImageRequest,
) -> Iterator[RunningCluster]:
    """A cluster on Consul that has answered some requests."""
    settings = {"FACET_REGISTRY": shared_consul.url(PREFIX)}
    plan = make_plan(settings=settings, instances={"inference": 2, "scheduler": 2})
    with run(plan) as running:
        request = digits_request(GOOD)
        request.images.append(recognition_pb2.Image(content=b"no picture"))
        for _ in range(REQUESTS):
            running.recognition.Recognize(request, timeout=60)
        yield running


@pytest.fixture(scope="module")
def targets(seen: RunningCluster) -> list[dict[str, Any]]:
    """Where its processes can be scraped, as the command line says."""
    done = facet_here("metrics", "targets", FACET_REGISTRY=seen.plan.settings["FACET_REGISTRY"])
    assert done.returncode == 0, done.stderr
    groups: list[dict[str, Any]] = json.loads(done.stdout)
    return groups


@pytest.fixture(scope="module")
def families(targets: list[dict[str, Any]]) -> dict[str, list[Metric]]:
    """All that the processes tell, by name."""
    found: dict[str, list[Metric]] = {}
    for group in targets:
        with urllib.request.urlopen(f"http://{group['targets'][0]}/metrics", timeout=10) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                found.setdefault(family.name, []).append(family)
    return found


@pytest.fixture(scope="module")
def prometheus(
    prometheus_binary: Path,  # noqa: F811
    shared_consul: ConsulServer,
    seen: RunningCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """A Prometheus with the rules and the configuration of this repository."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "consul.sd.json").write_text(json.dumps(_consul_targets(shared_consul)))
    config = config_with_files(folder, prefix=PREFIX, interval="1s")
    with run_prometheus(prometheus_binary, folder, config) as running:
        yield running


def _consul_targets(consul: ConsulServer) -> list[dict[str, Any]]:
    """What Prometheus's own client for Consul makes of everything that is registered there."""

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"http://{consul.address}{path}", timeout=10) as answer:
            return json.load(answer)

    return [
        {
            "targets": [f"{entry['ServiceAddress']}:{entry['ServicePort']}"],
            "labels": {
                "__meta_consul_service": entry["ServiceName"],
                "__meta_consul_service_id": entry["ServiceID"],
                "__meta_consul_service_address": entry["ServiceAddress"],
                **{
                    f"__meta_consul_service_metadata_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value
                    for key, value in entry["ServiceMeta"].items()
                },
            },
        }
        for service in get("/v1/catalog/services")
        for entry in get(f"/v1/catalog/service/{service}")
    ]


async def test_the_command_names_every_process(
    seen: RunningCluster, targets: list[dict[str, Any]]
) -> None:
    view = seen.wait_ready()
    named = {(each["labels"]["service"], each["labels"]["instance"]) for each in targets}
    assert named == {(each.service, each.id) for each in view.instances}
    registry = open_registry(seen.plan.settings["FACET_REGISTRY"])
    assert await current_targets(registry, SERVICES) == targets
    await registry.close()


def test_prometheus_scrapes_every_process_of_the_cluster_and_no_other(
    prometheus: Prometheus, targets: list[dict[str, Any]]
) -> None:
    expected = {
        (each["labels"]["service"], each["labels"]["instance"], each["targets"][0])
        for each in targets
    }

    def up() -> set[tuple[str, str, str]]:
        active = prometheus.get("/api/v1/targets")["activeTargets"]
        return {
            (each["labels"]["service"], each["labels"]["instance"], _address(each["scrapeUrl"]))
            for each in active
            if each["health"] == "up"
        }

    prometheus.wait_for(lambda: up() == expected, "all processes are scraped")
    everything = prometheus.get("/api/v1/targets")["activeTargets"]
    assert len(everything) == len(expected)


def _address(url: str) -> str:
    return url.removeprefix("http://").removesuffix("/metrics")


def test_what_is_counted_is_what_was_done(prometheus: Prometheus) -> None:
    images = REQUESTS * (GOOD + 1)
    values = {
        'sum(facet_gateway_requests_total{outcome="answered"})': REQUESTS,
        'sum(facet_gateway_images_total{model="digits",version="1"})': images,
        'sum(facet_gateway_image_errors_total{reason="UNSUPPORTED_FORMAT"})': REQUESTS,
        "sum(facet_gateway_request_seconds_count)": REQUESTS,
        'sum(facet_preprocessing_pictures_total{format="PNG",outcome="ok"})': REQUESTS * GOOD,
        "sum(facet_inference_batch_images_sum)": REQUESTS * GOOD,
        "sum(facet_aggregation_images_total)": images,
        "sum(facet_scheduler_admitted_requests_total)": REQUESTS,
        "sum(facet_scheduler_grant_images_sum)": REQUESTS * GOOD,
        "sum(facet_scheduler_leading)": 1,
        "count(facet_scheduler_leading)": 2,
        "max(facet_scheduler_shards)": 2,
        "sum(facet_inference_model_loaded)": 2,
        'sum(grpc_server_handled_total{grpc_method="Recognize",grpc_code="OK"})': REQUESTS,
        'min(facet_gateway_links_up{peer="inference"})': 2,
        "min(facet_gateway_registry_reachable)": 1,
    }
    for expression, value in values.items():
        prometheus.wait_for(lambda e=expression: prometheus.value(e) is not None, expression)  # type: ignore[misc]
        assert prometheus.value(expression) == value, expression


def test_the_shards_are_told_by_the_names_of_their_instances(prometheus: Prometheus) -> None:
    joined = "facet_scheduler_shard_utilisation * on (shard) group_left (service) "
    joined += 'label_replace(up{service="inference"}, "shard", "$1", "instance", "(.*)")'
    prometheus.wait_for(lambda: len(prometheus.query(joined)) == 2, joined)


def test_every_rule_can_be_evaluated_and_nothing_fires(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = prometheus.get("/api/v1/rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    prometheus.wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), "rules")
    assert [rule["lastError"] for rule in rules() if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []


def test_rules_and_dashboard_name_what_there_is(families: dict[str, list[Metric]]) -> None:
    told = recorded() | CONDITIONAL
    for name, (family, *_) in families.items():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        told |= {name + suffix for suffix in suffixes.get(family.type, [""])}
    for expression in [*expressions_of_rules(), *expressions_of_the_dashboard()]:
        assert names_in(expression) <= told, expression


def test_the_docs_list_what_is_told(families: dict[str, list[Metric]], tmp_path: Path) -> None:
    training = [
        *TrainingWorkerServicer("127.0.0.1", 0).metrics(),
        *MetricsFile(tmp_path / "training.prom", SilentProgress()).collect(),
    ]
    rows = {
        name: (kind, text)
        for name, kind, _, text in ROW.findall((ROOT / "docs" / "metrics.md").read_text("utf-8"))
    }
    told = {
        family.name: (family.type, family.documentation)
        for family in [*(each[0] for each in families.values()), *training]
        if not family.name.startswith(STANDARD)
    }
    in_docs = {_family(name, kind): (kind, text) for name, (kind, text) in rows.items()}
    conditional = {name: in_docs.pop(name, None) for name in CONDITIONAL}
    assert all(conditional.values())
    assert in_docs == told


def test_the_docs_name_the_labels(families: dict[str, list[Metric]]) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    labels = {
        _family(name, kind): set(re.findall(r"\w+", told))
        for name, kind, told, _ in ROW.findall(text)
    }
    for name, each in families.items():
        if not name.startswith(STANDARD):
            seen = {
                label for family in each for sample in family.samples for label in sample.labels
            }
            assert seen - {"le"} <= labels[name], name


def _family(name: str, kind: str) -> str:
    return name.removesuffix("_total") if kind == "counter" else name
