"""When a certificate expires."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from services.common.metrics.certificate import CertificateExpiry


def _write(path: Path, *, left: dt.timedelta) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - dt.timedelta(days=99)).not_valid_after(now + left)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def _left_s(collector: CertificateExpiry) -> float:
    (family,) = collector.collect()
    assert family.name == "facet_certificate_expiry_seconds"
    return float(family.samples[0].value)


def test_a_renewed_certificate_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "gateway.pem"
    collector = CertificateExpiry(path)
    _write(path, left=dt.timedelta(days=-1))
    assert _left_s(collector) == pytest.approx(-86_400, abs=600)
    _write(path, left=dt.timedelta(days=30))
    assert _left_s(collector) == pytest.approx(30 * 86_400, abs=600)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_nothing_is_told_of_what_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gateway.pem"
    if content is not None:
        path.write_bytes(content)
    assert list(CertificateExpiry(path).collect()) == []
