"""Reading the names of classes."""

import csv
from pathlib import Path

from services.common.errors import InvalidRequestError

COLUMN = "label"


def read_labels(path: Path) -> list[str]:
    """Return the labels in a UTF-8 file: a CSV with a `label` column, or a class a line.

    Rows are taken in the order of the file, which is the order of the outputs. Raises
    InvalidRequestError when the file cannot be read or names no class.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidRequestError(f"cannot read the labels {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the labels {path} are not UTF-8: {error}") from error
    lines = text.splitlines()
    header = next(csv.reader(lines[:1]), [])
    if COLUMN in header:
        labels = [(row[COLUMN] or "").strip() for row in csv.DictReader(text.splitlines(True))]
    else:
        while lines and not lines[-1].strip():
            lines.pop()
        labels = [line.strip() for line in lines]
    if not labels:
        raise InvalidRequestError(f"the labels {path} name no class")
    if "" in labels:
        raise InvalidRequestError(f"class {labels.index('')} in the labels {path} has no name")
    return labels
