"""The PEM files of one process: which, whether they fit together, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate with its key, and the authorities that are trusted. All are PEM files."""

    certificate: Path
    """The process's own, with intermediate ones after it where there are any."""
    key: Path
    ca: Path | None
    """Certificates of the authorities whose certificates peers may show; several while one
    takes the place of another. None: peers show none."""

    @property
    def all(self) -> tuple[Path, ...]:
        """The files that there are."""
        return (self.certificate, self.key, *((self.ca,) if self.ca else ()))


def files_in(folder: Path, service: str) -> TlsFiles:
    """Return the files of a service by the names that `facet certs` gives them."""
    return TlsFiles(folder / f"{service}.pem", folder / f"{service}-key.pem", folder / "ca.pem")


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself."""

    uris: tuple[str, ...]
    """Identities; a process has one."""
    hosts: tuple[str, ...]
    """Host names and addresses by which clients may know it."""
    subject: str
    issuer: str
    is_authority: bool
    not_before: datetime
    not_after: datetime
    """When it has expired, in UTC."""

    @property
    def days_left(self) -> float:
        """Days until it has expired; negative after that."""
        return (self.not_after - datetime.now(UTC)).total_seconds() / 86_400


def complete_files(certificate: Path | None, key: Path | None, ca: Path | None) -> TlsFiles | None:
    """Return the files that settings name, None where they name none; all or none, else an error.

    Raises ConfigurationError.
    """
    given = {"FACET_TLS_CERT": certificate, "FACET_TLS_KEY": key, "FACET_TLS_CA": ca}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if missing or certificate is None or key is None:
        raise ConfigurationError(
            f"{', '.join(given)} belong together; set {' and '.join(missing)} too, or none"
        )
    return TlsFiles(certificate, key, ca)


def read_certificates(path: Path) -> list[CertificateFacts]:
    """Return what the certificates in a PEM file say; ConfigurationError where there are none."""
    # Imported here: a cluster in plain text does without it.
    from cryptography import x509

    try:
        return [_facts(each) for each in x509.load_pem_x509_certificates(path.read_bytes())]
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{path} has no certificate in PEM format") from None


def _facts(certificate: "x509.Certificate") -> CertificateFacts:
    from cryptography import x509

    uris: Sequence[str] = ()
    hosts: list[str] = []
    authority = False
    for extension in certificate.extensions:
        if isinstance(names := extension.value, x509.SubjectAlternativeName):
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            hosts += names.get_values_for_type(x509.DNSName)
            hosts += map(str, names.get_values_for_type(x509.IPAddress))
        elif isinstance(extension.value, x509.BasicConstraints):
            authority = extension.value.ca
    return CertificateFacts(
        tuple(uris),
        tuple(hosts),
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        authority,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
