"""`facet certs`: an authority, certificates, and what is in them."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.table import Table

from facet.cli.output import answers, notices
from services.common.security.identity import DEFAULT_TRUST_DOMAIN

app = typer.Typer(
    no_args_is_help=True,
    help="Certificates of a cluster: who is who between its processes.",
    rich_markup_mode=None,
)

Folder: TypeAlias = Annotated[Path, typer.Argument(help="Folder of the authority.")]
TrustDomain: TypeAlias = Annotated[
    str,
    typer.Option(envvar="FACET_TRUST_DOMAIN", help="Identities are spiffe://DOMAIN/SERVICE."),
]
Hosts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--host", help="Name or address by which clients from outside know it."),
]
Days: TypeAlias = Annotated[int, typer.Option(min=1, help="How long it is valid.")]

# The authority is imported where it is needed: other commands need no cryptography.


@app.command()
def init(folder: Folder, trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN) -> None:
    """Make an authority: ca.pem, which everybody may have, and ca-key.pem, which nobody may."""
    from services.common.security.authority import make_authority

    _tell(make_authority(folder, trust_domain).certificate)


@app.command()
def issue(
    folder: Folder,
    services: Annotated[
        list[str], typer.Argument(help="gateway, inference and so on; `operator` for a person.")
    ],
    host: Hosts = None,
    days: Days = 90,
    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN,
) -> None:
    """Make SERVICE.pem and SERVICE-key.pem, signed by the folder's authority."""
    from services.common.security import authority

    for service in services:
        files = authority.issue(folder, service, trust_domain, hosts=host or (), days=days)
        _tell(files.certificate)


@app.command()
def lab(
    folder: Folder,
    host: Hosts = None,
    days: Days = 90,
    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN,
) -> None:
    """Make the authority and all certificates that are missing or soon expire, in one step."""
    from services.common.security.lab import make_lab

    made = make_lab(folder, trust_domain, hosts=host or (), days=days)
    for path in made:
        _tell(path)
    if not made:
        notices().print(f"All certificates in {folder} are good for more than a month.")


@app.command()
def show(file: Annotated[Path, typer.Argument(help="PEM file.")]) -> None:
    """Show the certificates in a file."""
    from services.common.security.files import read_certificates

    for facts in read_certificates(file):
        table = Table(box=None, show_header=False)
        table.add_row("subject", facts.subject)
        table.add_row("issuer", facts.issuer)
        table.add_row("identity", " ".join(facts.uris) or "none")
        table.add_row("hosts", " ".join(facts.hosts) or "none")
        table.add_row("authority", "yes" if facts.is_authority else "no")
        table.add_row("valid from", facts.not_before.isoformat())
        table.add_row("expires", f"{facts.not_after.isoformat()} ({facts.days_left:.1f} days left)")
        answers().print(table, soft_wrap=True)


def _tell(certificate: Path) -> None:
    notices().print(f"Made {certificate}", soft_wrap=True)
