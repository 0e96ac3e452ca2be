"""Lines of logs, as a process writes them."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT

PROGRAM = """
import logging, sys, warnings, structlog
from facet.type.v1.request_pb2 import RequestContext
from services.common.logs import configure_logging
from services.common.tracing.span import CURRENT, Span
configure_logging(*sys.argv[1:], service="gateway", instance="gateway-1-abc")
log = structlog.get_logger("test")
log.debug("hidden")
log.info("plain", count=3)
logging.getLogger("some.library").error("it says %s", "so")
warnings.warn("old", stacklevel=1)
CURRENT.set(Span(RequestContext(request_id="r-1")))
log.warning("of the current request")
log.warning("of another", request_id="r-2")
logging.getLogger("asyncio").warning("of the loop")
try:
    secret = "hunter2"
    raise ValueError("broken")
except ValueError:
    log.exception("failed", picture=b"bytes")
    logging.getLogger("some.library").exception("failed there")
"""


def written(*arguments: str) -> list[str]:
    """What a process writes to a standard error that is no terminal."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hunter2" not in run.stderr
    return run.stderr.splitlines()


@pytest.mark.parametrize("log_format", ["", "json"])
def test_every_line_is_an_object_whoever_wrote_it(log_format: str) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in written(log_format, "info")]
    assert [line["event"].strip().rpartition(" ")[2] for line in lines] == [
        *("plain", "so", "old", "request", "another", "loop", "failed", "there"),
    ]
    for line in lines:
        assert line["service"] == "gateway"
        assert line["instance"] == "gateway-1-abc"
        assert line["timestamp"].endswith("Z")
    requests = [line.get("request_id") for line in lines]
    assert requests == [None, None, None, "r-1", "r-2", "r-1", "r-1", "r-1"]
    levels = [line["level"] for line in lines]
    assert levels == [
        *("info", "error", "warning", "warning", "warning", "warning"),
        *["error"] * 2,
    ]
    assert lines[1]["logger"] == "some.library"
    for line in lines[-2:]:
        (raised,) = line["exception"]
        assert (raised["exc_type"], raised["exc_value"]) == ("ValueError", "broken")


def test_text_is_for_people() -> None:
    lines = written("text", "info")
    assert any("plain" in line and "count=3" in line for line in lines)
    assert any("it says so" in line for line in lines)
    assert any("of the current request" in line and "request_id=r-1" in line for line in lines)
    assert "ValueError: broken" in lines
    assert not any("gateway-1-abc" in line for line in lines)
