"""How a model is named on the command line: NAME or NAME:VERSION."""

import typer


def parse_model(text: str) -> tuple[str, int | None]:
    """Return name and version (None: the newest) of NAME or NAME:VERSION."""
    name, colon, version = text.partition(":")
    if not name or (colon and not (version.isdecimal() and int(version))):
        raise typer.BadParameter(f"{text!r} is neither NAME nor NAME:VERSION")
    return name, int(version) if colon else None
