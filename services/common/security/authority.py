"""A certificate authority in a folder: for laboratories, and clusters without another one.

Keys are on the curve P-256 and never leave the folder but by a person's hand. RFC 5280 says what
the extensions mean, the SPIFFE standard what a process's certificate must and must not have.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.common.errors import ConfigurationError, InvalidRequestError
from services.common.security.files import TlsFiles, files_in
from services.common.security.identity import OPERATOR, SERVICES, spiffe_id

CA: Final = "ca"
CONSUL: Final = "consul"
NAMES: Final = (*SERVICES, OPERATOR, CONSUL)
"""What a certificate can be issued for."""
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
CA_DAYS: Final = 3650
DAYS: Final = 90
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""Certificates hold from a little before they are made: the peer's clock may be behind."""


def make_authority(folder: Path, trust_domain: str, days: int = CA_DAYS) -> TlsFiles:
    """Make `ca.pem` and `ca-key.pem` in a folder, which is made if need be; return their paths.

    ConfigurationError when there are such files, or they cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(f"Facet CA of {trust_domain}"), key, days)
    # Told apart by their keys while one authority takes the other's place.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = _key_usage(signs_certificates=True)
    certificate = (
        builder.issuer_name(_name(f"Facet CA of {trust_domain}"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(_names([f"spiffe://{trust_domain}"], ()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = files_in(folder, CA)
    _write(files, key, certificate)
    return files


def issue(
    folder: Path,
    name: str,
    trust_domain: str,
    *,
    hosts: Sequence[str] = (),
    days: int = DAYS,
    replace: bool = False,
) -> TlsFiles:
    """Make `<name>.pem` and `<name>-key.pem`, signed by the authority in the folder.

    `hosts` are host names and addresses by which clients from outside know it. InvalidRequestError
    for a name that nothing has; ConfigurationError when there is no authority, or there are such
    files and they are not to be replaced.
    """
    if name not in NAMES:
        raise InvalidRequestError(f"{name!r} has no certificate; choose of {', '.join(NAMES)}")
    ca_key, ca = _authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name != OPERATOR:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    certificate = (
        _builder(_name(name), key, days)
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_names([spiffe_id(trust_domain, name)], hosts), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    files = files_in(folder, name)
    _write(files, key, certificate, replace=replace)
    return files


def _authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    files = files_in(folder, CA)
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(
            f"there is no authority in {folder} ({error.strerror}: {error.filename}); "
            "`facet certs init` makes one"
        ) from None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the authority in {folder} cannot be used: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"{files.key} is no key on an elliptic curve")
    return key, certificate


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=days)) - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(uris: Sequence[str], hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [*map(x509.UniformResourceIdentifier, uris), *map(_host, hosts)]
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        raise InvalidRequestError(f"{text!r} is neither a host name nor an address") from None


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(
    files: TlsFiles,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    *,
    replace: bool = False,
) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pair = (
        (files.key, pem, 0o600),
        (files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644),
    )
    try:
        files.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, _, _ in pair:
            if path.exists() and not replace:
                raise ConfigurationError(f"{path} exists; remove it first, or use another folder")
        for path, content, mode in pair:
            _write_whole(path, content, mode)
    except OSError as error:
        raise ConfigurationError(f"cannot write {error.filename}: {error.strerror}") from None


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write beside and rename: a process that reads it meanwhile has the old one or the new one."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    beside.replace(path)
