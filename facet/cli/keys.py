"""`facet keys`: the API keys that open a gateway."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from facet.cli.options import Json
from facet.cli.output import answers, notices, write_json
from services.common.credentials.api_keys import ApiKey, new_key
from services.common.credentials.key_file import read_keys, write_keys
from services.common.credentials.scopes import Scope
from services.common.errors import ConfigurationError

app = typer.Typer(help="API keys, in the file that FACET_API_KEYS names.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The file of keys; made if there is none.")]


@app.command()
def new(
    file: File,
    tenant: Annotated[str, typer.Option(help="In whose name it calls, and whose quota it uses.")],
    scope: Annotated[list[Scope], typer.Option(help="What it is good for; once or more.")],
    days: Annotated[int | None, typer.Option(min=1, help="Until it expires.")] = None,
    note: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Make a key and write it to standard output, the only time that it is seen."""
    if not 0 < len(tenant) <= 128:
        raise typer.BadParameter("a tenant's name has 1 to 128 letters", param_hint="--tenant")
    keys = read_keys(file) if file.exists() else {}
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    text, key = new_key(tenant, scope, expires, note)
    write_keys(file, [*keys.values(), key])
    notices().print(f"Key {key.id} of {tenant} is in {file}, by its hash. The key itself:")
    sys.stdout.write(f"{text}\n")


@app.command(name="list")
def list_keys(file: File, as_json: Json = False) -> None:
    """List the keys: ids, tenants, scopes, expiry; neither keys nor hashes."""
    keys = read_keys(file).values()
    if as_json:
        write_json([_as_dict(key) for key in keys])
        return
    table = Table(box=None)
    for heading in ("id", "tenant", "scopes", "expires", "note"):
        table.add_column(heading)
    for key in keys:
        state = _expiry(key)
        table.add_row(key.id, key.tenant, " ".join(sorted(key.scopes)), state, key.note)
    answers().print(table)


@app.command()
def revoke(file: File, key_id: Annotated[str, typer.Argument(help="As `list` tells it.")]) -> None:
    """Take a key back: gateways refuse it as soon as they have read the file again."""
    keys = read_keys(file)
    if keys.pop(key_id, None) is None:
        raise ConfigurationError(f"{file} has no key {key_id}")
    write_keys(file, keys.values())
    notices().print(f"Key {key_id} is no longer in {file}")


def _expiry(key: ApiKey) -> str:
    if key.expires is None:
        return "never"
    ended = key.expires <= datetime.now(UTC)
    return f"{key.expires.isoformat()}{' (expired)' if ended else ''}"


def _as_dict(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "expires": key.expires.isoformat() if key.expires else None,
        "note": key.note,
    }
