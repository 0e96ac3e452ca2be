"""What docs/operations.md and the unit file say is so."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from facet.cli.app import app
from facet.reference.sections import all_sections
from services.common.process import EXIT_CANNOT_START
from tests.conftest import ROOT, need
from tests.kubernetes.manifests import COMPONENTS

HANDBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNIT = ROOT / "docker" / "systemd" / "facet@.service"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_has_its_section() -> None:
    path = ROOT / "docker" / "prometheus" / "alerts.yml"
    if not path.exists():
        pytest.skip(f"needs {path.relative_to(ROOT)}")
    rules = [
        rule
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert rules
    for rule in rules:
        name = rule["alert"].lower()
        assert name in anchors(HANDBOOK), rule["alert"]
        assert rule["annotations"]["runbook_url"].endswith(f"docs/operations.md#{name}")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", HANDBOOK):
        page, _, anchor = target.partition("#")
        assert not page or (ROOT / "docs" / page).is_file(), target
        assert not anchor or page or anchor in anchors(HANDBOOK), target


def test_every_command_and_setting_that_it_names_is_one() -> None:
    command = typer.main.get_command(app)
    named = re.findall(r"(?:^    |`)facet ((?:models )?[a-z]+)", HANDBOOK, re.MULTILINE)
    assert {"status", "models rollback"} <= set(named)
    assert isinstance(command, TyperGroup)
    models = command.commands["models"]
    assert isinstance(models, TyperGroup)
    known = {*command.commands, *(f"models {name}" for name in models.commands)}
    assert set(named) - known == set()
    settings = {entry.name for part in all_sections(command) for entry in part.variables}
    assert set(re.findall(r"FACET_[A-Z_]+[A-Z]", HANDBOOK)) - settings == set()


def test_every_component_is_told() -> None:
    (table,) = re.findall(r"^\| component \|.*\n\|---.*\n((?:\|.*\n)+)", HANDBOOK, re.MULTILINE)
    assert set(re.findall(r"^\| `([a-z0-9-]+)`", table, re.MULTILINE)) == set(COMPONENTS)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        need("systemd", "there is no systemd-analyze on the PATH")
    assert verify is not None
    unit = UNIT.read_text(encoding="utf-8")
    assert f"RestartPreventExitStatus={EXIT_CANNOT_START}" in unit
    # The file that it runs must exist, which is elsewhere here.
    own = tmp_path / UNIT.name
    own.write_text(unit.replace("/opt/facet/bin/facet", sys.executable))
    done = subprocess.run(
        [verify, "verify", "--man=no", own], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
