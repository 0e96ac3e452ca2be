"""What lies in `docker` for Prometheus and Grafana, and which metrics it speaks of."""

import json
import re
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

PROMETHEUS: Final = ROOT / "docker" / "prometheus"
RULES: Final = PROMETHEUS / "alerts.yml"
DASHBOARD: Final = ROOT / "docker" / "grafana" / "dashboards" / "facet.json"

_NAME: Final = re.compile(r"\b(?:facet|grpc|process|python)_\w+|\bfacet:[\w:]+")
_CONSUL: Final = re.compile(r"    consul_sd_configs:\n(?:      .*\n)+")


def names_in(expression: str) -> set[str]:
    """Return the metrics that an expression names; labels such as grpc_code are none."""
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    without_labels = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", without_strings)
    without_matchers = re.sub(r"\{[^}]*\}", "", without_labels)
    return set(_NAME.findall(without_matchers))


def expressions_of_rules() -> list[str]:
    """Return the expressions of all rules: a line, or the block below `expr: |`."""
    text = RULES.read_text("utf-8")
    found = re.findall(r"^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.+)\n)", text, re.MULTILINE)
    assert len(found) == text.count("expr:")
    return [block or line for block, line in found]


def recorded() -> set[str]:
    """Return the metrics that rules record."""
    return set(re.findall(r"record: (\S+)", RULES.read_text("utf-8")))


def alerts() -> set[str]:
    """Return the names of all alerts."""
    return set(re.findall(r"alert: (\S+)", RULES.read_text("utf-8")))


def expressions_of_the_dashboard() -> list[str]:
    """Return the expressions of all panels, and of the annotations."""
    board = json.loads(DASHBOARD.read_text("utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] for panel in panels)
    variables = [
        each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"
    ]
    return [*variables, *(target["expr"] for panel in panels for target in panel["targets"])]


def config_with_files(folder: Path, *, prefix: str = "facet", interval: str = "15s") -> str:
    """Return prometheus.yml with what Consul would tell in files `*.sd.json` of a folder.

    Debian builds Prometheus without its client for Consul; all else is as it is, above all what
    is made of Consul's answers.
    """
    text = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
    files = f"    file_sd_configs:\n      - files: ['{folder}/*.sd.json']\n"
    text, replaced = _CONSUL.subn(files, text)
    assert replaced == 1
    return (
        text.replace("facet-", f"{prefix}-")
        .replace("15s", interval)
        .replace("- alerts.yml", f"- {RULES}")
    )
