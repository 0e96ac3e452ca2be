"""A picture that kills the process that decodes it is an error, not an outage."""

from collections.abc import Callable, Iterator

import pytest

from facet.launcher.plan import MODULES, ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.preprocessing.confinement.watchdog import EXIT_STUCK
from tests.cluster.conftest import ImageRequest
from tests.cluster.crashing_preprocessing import ENDLESS, POISON
from tests.cluster.load import load
from tests.cluster.running import RunningCluster, run
from tests.reasons import reason_of


@pytest.fixture(scope="module")
def crashing(make_plan: Callable[..., ClusterPlan]) -> Iterator[RunningCluster]:
    """A cluster whose decoders die on the poison picture, and hang on another."""
    modules = {**MODULES, "preprocessing": "tests.cluster.crashing_preprocessing"}
    settings = {"FACET_DECODE_S": "1"}
    plan = make_plan(modules=modules, instances={"inference": 1}, settings=settings)
    with run(plan) as running:
        yield running


def test_the_poison_is_an_error_and_all_others_are_answered(
    crashing: RunningCluster, digits_request: ImageRequest
) -> None:
    good = crashing.recognition.Recognize(digits_request(12), timeout=60)
    expected = [result.classification.classes[0].label for result in good.results]
    request = digits_request(12)
    request.images[5].content = POISON
    with load(crashing, digits_request(12), expected) as running:
        running.wait_for(10)
        poisoned: recognition_pb2.RecognizeResponse = crashing.recognition.Recognize(
            request, timeout=60
        )
        running.wait_for(10)
    for place, (result, unharmed) in enumerate(zip(poisoned.results, good.results, strict=True)):
        if place != 5:
            assert result == unharmed
    assert reason_of(poisoned.results[5].error) == "DECODER_CRASHED"
    assert {death.reason for death in crashing.deaths} == {"killed by SIGSEGV"}
    crashing.wait_ready()


def test_a_picture_without_end_is_an_error_and_its_mates_are_answered(
    crashing: RunningCluster, digits_request: ImageRequest
) -> None:
    before = len(crashing.deaths)
    good = crashing.recognition.Recognize(digits_request(6), timeout=60)
    request = digits_request(6)
    request.images[2].content = ENDLESS
    answered = crashing.recognition.Recognize(request, timeout=60)
    for place, (result, unharmed) in enumerate(zip(answered.results, good.results, strict=True)):
        if place != 2:
            assert result == unharmed
    assert reason_of(answered.results[2].error) == "DECODER_CRASHED"
    ways = [death.reason for death in crashing.deaths[before:]]
    assert len(ways) > 1
    assert all(way.startswith(f"exit code {EXIT_STUCK}:") for way in ways), ways
    assert "FACET_DECODE_S" in crashing.log("preprocessing-1")
    crashing.wait_ready()
