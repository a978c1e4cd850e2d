"""Tables on the terminal."""

import sys

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ..tables import Table


def show(*parts: Table | str) -> None:
    """Print tables and lines, never broken where nobody looks at a terminal."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for part in parts:
        if isinstance(part, str):
            console.print(Text(part), soft_wrap=True)
        else:
            console.print(drawn(part))


def drawn(table: Table) -> RichTable:
    """A table as rich draws it."""
    out = RichTable(title=Text(table.title), title_justify="left")
    for position, column in enumerate(table.columns):
        out.add_column(Text(column), justify="right" if table.numeric and position else "left", no_wrap=position > 0)
    for row in table.rows:
        out.add_row(*map(Text, row))
    return out


def counted(number: int, what: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def words(text: str) -> list[str]:
    """The parts of a comma list."""
    return [part.strip() for part in text.split(",") if part.strip()]
