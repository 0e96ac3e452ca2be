"""`facet train-worker`, and what `--workers` of `facet train` means."""

import os
from pathlib import Path
from typing import Annotated

import typer

from facet.cli.options import DEFAULT_HOME, Home, Registry
from facet.launcher.training_workers import LocalWorkers
from services.common.http2.tls import ClientTls
from services.common.security.credentials import Credentials
from services.common.security.identity import spiffe_id
from services.common.settings import CommonSettings, read_settings
from services.training.distributed import worker
from services.training.distributed.sources import RegisteredWorkers, WorkerSource

REGISTRY = "registry:"


def _to_workers(settings: CommonSettings) -> ClientTls | None:
    """Return how the workers are reached: with the certificate of whoever trains."""
    if (files := settings.tls_files) is None:
        return None
    identity = spiffe_id(settings.trust_domain, worker.NAME)
    return Credentials(files, mutual=True).to(identity)


def train_worker(
    host: Annotated[
        str, typer.Option(envvar="FACET_HOST", help="Address to listen on.")
    ] = "127.0.0.1",
    advertise_host: Annotated[
        str,
        typer.Option(
            envvar="FACET_ADVERTISE_HOST", help="Address at which others reach this machine."
        ),
    ] = "",
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads; 0: as many as there are cores.")
    ] = 0,
    registry: Registry = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Wait for trainings of `facet train --workers registry:N` and take part in them."""
    given = {
        "FACET_HOST": host,
        "FACET_ADVERTISE_HOST": advertise_host,
        "FACET_REGISTRY": registry,
        "FACET_HOME": str(home),
    }
    os.environ.update({name: value for name, value in given.items() if value})
    if threads:
        os.environ["FACET_TRAINING_THREADS"] = str(threads)
    worker.main()


def parse_workers(text: str, home: Path, registry: str) -> WorkerSource | None:
    """Return what `--workers` means: "4", or "registry:4"; None: this process alone.

    typer.BadParameter for anything else.
    """
    registered = text.startswith(REGISTRY)
    number = text.removeprefix(REGISTRY)
    if not number.isdecimal() or int(number) < 1:
        raise typer.BadParameter(
            f"{text!r} is neither a number of workers, such as 4, nor registry:4",
            param_hint="--workers",
        )
    if registered:
        settings = read_settings(CommonSettings, home=home, registry=registry)
        return RegisteredWorkers(
            settings.registry_url,
            int(number),
            access=settings.consul_access,
            tls=_to_workers(settings),
        )
    return None if int(number) == 1 else LocalWorkers(int(number))
