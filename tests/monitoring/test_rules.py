"""The rules and the configuration of Prometheus, as its own tool sees them."""

import json
import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT
from tests.fixtures_prometheus import promtool  # noqa: F401  # fixture
from tests.monitoring.files import (
    PROMETHEUS,
    RULES,
    alerts,
    config_with_files,
    expressions_of_the_dashboard,
    recorded,
)


def _run(promtool: Path, *arguments: object) -> None:  # noqa: F811
    done = subprocess.run(
        [promtool, *map(str, arguments)],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_else(promtool: Path) -> None:  # noqa: F811
    _run(promtool, "test", "rules", "alerts_test.yml")


def test_no_alert_and_no_record_is_left_untested() -> None:
    tests = (PROMETHEUS / "alerts_test.yml").read_text("utf-8")
    tested = set(re.findall(r'alertname="(\w+)"', tests))
    assert tested == alerts()
    shown = " ".join([RULES.read_text("utf-8"), *expressions_of_the_dashboard()])
    for name in recorded():
        uses = shown.count(name) + tests.count(f"expr: {name}")
        assert uses > 1, f"{name} is recorded and neither shown nor tested"


def test_the_configuration_is_one(promtool: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "prometheus.yml").write_text(config_with_files(tmp_path))
    _run(promtool, "check", "config", tmp_path / "prometheus.yml")


def test_prometheus_understands_the_dashboard(promtool: Path, tmp_path: Path) -> None:  # noqa: F811
    variable = {"$__rate_interval": "5m", "$model": "digits"}
    lines = []
    for number, expression in enumerate(expressions_of_the_dashboard()):
        if expression.startswith("label_values("):
            continue
        for name, value in variable.items():
            expression = expression.replace(name, value)
        lines.append(f"      - {{record: 'panel:{number}', expr: {json.dumps(expression)}}}")
    rules = "\n".join(["groups:", "  - name: dashboard", "    rules:", *lines])
    (tmp_path / "dashboard.yml").write_text(rules)
    _run(promtool, "check", "rules", tmp_path / "dashboard.yml")


def test_the_docs_name_every_alert_and_every_alert_a_section_to_read() -> None:
    docs = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(Facet\w+)`", docs, re.MULTILINE)) == alerts()
    urls = set(re.findall(r"runbook_url: (\S+)", RULES.read_text("utf-8")))
    assert urls == {f"docs/operations.md#{name.lower()}" for name in alerts()}
