"""`facet certs` and what it makes."""

import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facet.cli.app import app
from services.common.errors import ConfigurationError, FacetError, InvalidRequestError
from services.common.security.credentials import Credentials
from services.common.security.files import complete_files, files_in, read_certificates
from services.common.security.lab import make_lab


def certs(*arguments: str) -> str:
    """Run `facet certs` in this process; return what it answers."""
    result = CliRunner().invoke(app, ["certs", *arguments])
    if isinstance(result.exception, FacetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_init_issue_and_show(tmp_path: Path) -> None:
    folder = str(tmp_path / "certs")
    certs("init", folder)
    hosts = ("--host", "facet.example", "--host", "10.0.0.7", "--days", "10")
    certs("issue", folder, "gateway", "inference", *hosts)
    for name in ("ca", "gateway", "inference"):
        mode = stat.S_IMODE((tmp_path / "certs" / f"{name}-key.pem").stat().st_mode)
        assert mode == 0o600
    shown = certs("show", f"{folder}/gateway.pem")
    assert "spiffe://facet/gateway" in shown
    assert "facet.example 10.0.0.7" in shown
    with pytest.raises(ConfigurationError, match=r"ca-key\.pem exists"):
        certs("init", folder)
    with pytest.raises(ConfigurationError, match=r"gateway-key\.pem exists"):
        certs("issue", folder, "gateway")
    with pytest.raises(InvalidRequestError, match="'gatway' has no certificate; choose"):
        certs("issue", folder, "gatway")
    with pytest.raises(ConfigurationError, match="`facet certs init` makes one"):
        certs("issue", str(tmp_path), "gateway")


def test_openssl_finds_nothing_wrong(lab: Path) -> None:
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", "gateway.pem"]
    done = subprocess.run(command, cwd=lab, capture_output=True, text=True, check=False)
    assert done.stdout == "gateway.pem: OK\n", done.stderr


def test_a_laboratory_makes_what_is_missing_and_what_soon_expires(tmp_path: Path) -> None:
    assert len(make_lab(tmp_path, "facet", days=20)) == 9
    first = read_certificates(files_in(tmp_path, "gateway").certificate)[0]
    made = make_lab(tmp_path, "facet", days=90)
    assert [path.name for path in made if path.name.startswith("ca")] == []
    assert read_certificates(files_in(tmp_path, "gateway").certificate)[0].not_after > (
        first.not_after
    )
    (tmp_path / "inference.pem").unlink()
    assert make_lab(tmp_path, "facet") == [tmp_path / "inference.pem"]


def test_what_is_wrong_with_files_is_said_in_a_sentence(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="FACET_TLS_KEY and FACET_TLS_CA too, or none"):
        complete_files(lab / "gateway.pem", None, None)
    gateway, inference = files_in(lab, "gateway"), files_in(lab, "inference")
    cases = {
        "no certificate with its key": (gateway.certificate, inference.key, gateway.ca),
        "has no certificate in PEM format": (gateway.key, gateway.key, gateway.ca),
        "cannot read": (tmp_path / "none.pem", gateway.key, gateway.ca),
        "has no certificates of authorities": (gateway.certificate, gateway.key, gateway.key),
        "this process is spiffe://facet/gateway": (
            inference.certificate,
            inference.key,
            gateway.ca,
        ),
    }
    for text, (certificate, key, ca) in cases.items():
        files = complete_files(certificate, key, ca)
        assert files is not None
        with pytest.raises(ConfigurationError, match=text):
            Credentials(files, "spiffe://facet/gateway", mutual=True)
