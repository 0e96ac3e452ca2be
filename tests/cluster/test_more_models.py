"""More models than fit into the shards' memory, on real processes, asked for at random."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.models.repository import ModelRepository
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import run
from tests.models.contents import copy_of
from tests.reasons import reason_of_call

MODELS = 12
CALLERS = 6
REQUESTS = 40
"""Of each caller."""
BUDGET = 16 * 2**20
"""Bytes: some of the models, which take some MB each."""


def test_every_model_answers_though_few_fit(
    make_plan: Callable[..., ClusterPlan],
    digits_repository: ModelRepository,
    digits_request: ImageRequest,
    tmp_path: Path,
) -> None:
    models = ModelRepository(tmp_path / "models")
    digits = copy_of(digits_repository, digits_repository.load_manifest("digits", 1))
    for number in range(MODELS):
        models.publish(f"model-{number}", digits)
    plan = make_plan(models=models.root, settings={"FACET_MODEL_MEMORY_BYTES": str(BUDGET)})
    outcomes: Counter[str] = Counter()
    stable = [f"model-{number}" for number in range(MODELS - 1)]
    with run(plan) as cluster:

        def ask(name: str) -> str:
            selector = recognition_pb2.ModelSelector(name=name)
            try:
                response = cluster.recognition.Recognize(digits_request(model=selector), timeout=30)
            except grpc.RpcError as error:
                return reason_of_call(error)
            assert response.results[0].HasField("classification")
            return "OK"

        def caller(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(REQUESTS):
                # Some models are asked for more than others.
                outcomes[ask(stable[int(len(stable) * chance.random() ** 2)])] += 1

        threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(CALLERS)]
        for thread in threads:
            thread.start()
        # Meanwhile one goes, and another one comes.
        goes = f"model-{MODELS - 1}"
        assert ask(goes) == "OK"
        models.remove(goes, 1)
        models.publish("late", digits)
        for thread in threads:
            thread.join()
        cluster.wait_for_view(lambda view: goes not in _held(view))
        assert ask(goes) == "MODEL_NOT_FOUND"
        assert ask("late") == "OK"
        assert sum(_held(cluster.view()).values()) < 2 * MODELS
        assert not cluster.deaths
    assert outcomes["OK"] == outcomes.total(), outcomes


def _held(view: cluster_pb2.Cluster) -> Counter[str]:
    """Model → shards that have it."""
    shards = (each for each in view.instances if each.service == "inference")
    return Counter(model.name for shard in shards for model in shard.models)
