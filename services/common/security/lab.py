"""All certificates of a cluster in one step, and again before they expire."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.common.security.authority import (
    CA,
    DAYS,
    LOCAL_HOSTS,
    NAMES,
    issue,
    make_authority,
)
from services.common.security.files import files_in, read_certificates

RENEW_DAYS: Final = 30
"""A certificate that is valid for no longer than that is issued again."""


def make_lab(
    folder: Path, trust_domain: str, *, hosts: Sequence[str] = (), days: int = DAYS
) -> list[Path]:
    """Make an authority in a folder, if it has none, and each certificate that is missing or old.

    All may be used on this machine, and by `hosts`. Returns the certificates that were made.
    Raises what `make_authority` and `issue` do.
    """
    made = []
    if not files_in(folder, CA).certificate.exists():
        made.append(make_authority(folder, trust_domain).certificate)
    for name in NAMES:
        files = files_in(folder, name)
        if _good(files.certificate):
            continue
        issue(
            folder,
            name,
            trust_domain,
            hosts=(*LOCAL_HOSTS, *hosts),
            days=days,
            replace=True,
        )
        made.append(files.certificate)
    return made


def _good(certificate: Path) -> bool:
    return certificate.exists() and read_certificates(certificate)[0].days_left > RENEW_DAYS
