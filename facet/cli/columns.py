"""Tables for a terminal of any width: what matters least is left out where it does not fit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

GAP: Final = 2
ELLIPSIS: Final = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """One column, heading included."""

    heading: str
    cells: Sequence[Text]
    right: bool = True
    """Numbers stand at the right."""
    spare: int = 0
    """Columns with a higher number are left out first; 0: never."""

    @property
    def width(self) -> int:
        """Columns of the terminal that it takes."""
        return max([len(self.heading), *(cell.cell_len for cell in self.cells)])


def lines(columns: Sequence[Column], width: int) -> list[Text]:
    """Return the heading and a line for each row, none wider than `width`."""
    shown = list(columns)
    while _width(shown) > width and any(column.spare for column in shown):
        shown.remove(max(shown, key=lambda column: column.spare))
    heading = [Text(column.heading, "bold") for column in shown]
    rows = zip(*(column.cells for column in shown), strict=True)
    return [_line(shown, cells, width) for cells in (heading, *rows)]


def shortened(name: str, width: int) -> str:
    """Return a name with its middle left out: what tells instances apart is at both ends."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return name[: width - 1 - end] + ELLIPSIS + (name[-end:] if end else "")


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _line(columns: Sequence[Column], cells: Iterable[Text], width: int) -> Text:
    line = Text(no_wrap=True)
    for number, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        space = " " * (column.width - cell.cell_len)
        line.append(" " * GAP if number else "")
        line.append(space if column.right else "").append_text(cell)
        line.append("" if column.right else space)
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line
