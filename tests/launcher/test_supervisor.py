"""Why a process cannot start is told to people, whatever form its logs have."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from facet.launcher.plan import ProcessPlan
from facet.launcher.supervisor import Supervisor
from services.common.errors import ConfigurationError


def reason(folder: Path, log_format: str, **settings: str) -> str:
    """Why the aggregation service does not start with these settings."""
    environment = {
        **os.environ,
        "FACET_HOME": str(folder),
        "FACET_LOG_FORMAT": log_format,
        "FACET_PORT": "0",
        **settings,
    }
    command = (sys.executable, "-m", "services.aggregation")
    plan = ProcessPlan("aggregation-1", "aggregation", command, environment)
    supervisor = Supervisor([plan], folder / "logs", lambda death: None)
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(supervisor.run())
    return caught.value.message


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_is_wrong_is_said_in_words(tmp_path: Path, log_format: str) -> None:
    said = reason(tmp_path, log_format, FACET_TRACES="localhost")
    assert said.startswith("aggregation-1 cannot start: ")
    assert "FACET_TRACES is 'localhost'" in said
    assert '"event"' not in said
