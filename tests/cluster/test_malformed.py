"""Every malformed file there is goes through a running cluster and harms nobody."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from facet.recognition.v1 import recognition_pb2
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import RunningCluster
from tests.reasons import reason_of

REASONS = {"IMAGE_CORRUPT", "IMAGE_TOO_LARGE", "IMAGE_EMPTY", "UNSUPPORTED_FORMAT"}
BATCH = 20


@pytest.mark.timeout(300)
def test_every_malformed_file(
    cluster: RunningCluster,
    test_data: Path,
    digits_request: ImageRequest,
    digit_png: Callable[[int], bytes],
) -> None:
    files = sorted(path for path in (test_data / "malformed").rglob("*") if path.is_file())
    assert len(files) > 400
    healthy = cluster.recognition.Recognize(digits_request(), timeout=60).results[0]
    outcomes: Counter[str] = Counter()
    for first in range(0, len(files), BATCH):
        contents = [path.read_bytes() for path in files[first : first + BATCH]]
        # A healthy picture before and after each of them.
        images = [digit_png(0)]
        for content in contents:
            images += [content, digit_png(0)]
        request = digits_request(
            images=[recognition_pb2.Image(content=content) for content in images]
        )
        results = cluster.recognition.Recognize(request, timeout=120).results
        assert all(result == healthy for result in results[::2]), files[first : first + BATCH]
        outcomes.update(map(_outcome, results[1::2]))
    assert outcomes.keys() <= REASONS | {"answered"}, outcomes
    assert outcomes["answered"] > 200
    assert outcomes["IMAGE_CORRUPT"] > 10
    assert not cluster.deaths


def _outcome(result: recognition_pb2.ImageResult) -> str:
    if result.HasField("classification"):
        return "answered"
    assert result.error.message
    return reason_of(result.error)
