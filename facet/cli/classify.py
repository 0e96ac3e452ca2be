"""`facet classify`."""

import asyncio
import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import grpc
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from facet.cli.model_names import parse_model
from facet.cli.options import DEFAULT_GATEWAY, ApiKeyFile, Gateway, Json
from facet.cli.output import answers, notices, write_json
from facet.client.connection import connect
from facet.client.pictures import Answer, PictureClient, Question
from facet.recognition.v1 import recognition_pb2
from services.common.errors import FacetError
from services.common.statuses import from_status, status_code

PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
)
PROGRESS_FROM: Final = 20
"""So many pictures are worth a progress bar."""


def classify(
    paths: Annotated[list[str], typer.Argument(help="Files, folders and globs.")],
    model: Annotated[str, typer.Option(help="NAME, NAME:VERSION or NAME@LABEL.")] = "digits",
    top_k: Annotated[int, typer.Option(min=1, help="Classes a picture.")] = 5,
    as_json: Json = False,
    gateway: Gateway = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Classify pictures: a table, or one JSON object a line with --json."""
    chosen = parse_model(model)
    question = Question(
        recognition_pb2.ModelSelector(
            name=chosen.name, version=chosen.version, label=chosen.label or ""
        ),
        recognition_pb2.RecognitionOptions(top_k=top_k),
        timeout_s=60.0,
    )
    failed = asyncio.run(
        _classify(list(expand(paths)), question, gateway, api_key_file, as_json=as_json)
    )
    if failed:
        notices().print(f"[yellow]{failed} of the pictures could not be classified.[/]")
        raise typer.Exit(1)


def expand(paths: Iterable[str]) -> Iterable[Path]:
    """Yield the files that the arguments stand for; a folder stands for the pictures below it."""
    for given in paths:
        path = Path(given)
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()
            )
        elif path.exists():
            yield path
        elif matches := sorted(glob.glob(given, recursive=True)):
            yield from expand(matches)
        else:
            raise typer.BadParameter(f"there is no file or folder {given!r}")


async def _classify(
    paths: list[Path],
    question: Question,
    gateway: str,
    api_key_file: Path | None,
    *,
    as_json: bool,
) -> int:
    """Write the answers as they come; return how many pictures failed."""
    failed = 0
    console = answers()
    columns = (TextColumn("Classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=notices(), transient=True)
    progress.disable = len(paths) < PROGRESS_FROM
    with progress:
        task = progress.add_task("", total=len(paths))
        async with connect(gateway, api_key_file) as channel:
            async for answer in PictureClient(gateway, channel, question).classify(paths):
                failed += answer.error is not None
                _write(answer, console, as_json=as_json)
                progress.advance(task)
    return failed


def _write(answer: Answer, console: Console, *, as_json: bool) -> None:
    if as_json:
        write_json(as_dict(answer))
    elif answer.error is not None:
        text = f"[red]{answer.error.reason}[/] {escape(answer.error.message)}"
        console.print(f"{escape(str(answer.path))}  {text}", soft_wrap=True)
    else:
        best, *others = answer.classes
        rest = ", ".join(f"{other.label} {other.score:.1%}" for other in others)
        console.print(
            f"{escape(str(answer.path))}  [bold]{escape(best.label)}[/] {best.score:.1%}  "
            f"[dim]{escape(rest)}[/]{_note(answer)}",
            soft_wrap=True,
        )


def _note(answer: Answer) -> str:
    """Say which members of an ensemble had no part in the answer."""
    if not answer.failures:
        return ""
    without = ", ".join(
        f"{failure['model']}:{failure['version']} ({failure['reason']})"
        for failure in map(_failure_dict, answer.failures)
    )
    return f"  [yellow]partial[/], without {escape(without)}"


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer."""
    if answer.error is not None:
        return {"image": str(answer.path), "error": _error_dict(answer.error)}
    found = {
        "image": str(answer.path),
        "model": answer.model,
        "version": answer.version,
        "classes": [
            {"label": score.label, "index": score.index, "score": score.score}
            for score in answer.classes
        ],
    }
    if answer.failures:
        found |= {"partial": True, "failures": list(map(_failure_dict, answer.failures))}
    return found


def _failure_dict(failure: recognition_pb2.MemberFailure) -> dict[str, Any]:
    member = {"model": failure.model.name, "version": failure.model.version}
    return {**member, **_error_dict(from_status(failure.error))}


def _error_dict(error: FacetError) -> dict[str, str]:
    code: grpc.StatusCode = status_code(error)
    return {"code": code.name, "reason": error.reason, "message": error.message}
