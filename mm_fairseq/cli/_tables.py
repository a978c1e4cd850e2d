"""Tables of `evaluation` on the terminal."""

import sys

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ..evaluation.tables import Table


def show(*parts: Table | str) -> None:
    """Print tables and lines, never broken where nobody looks at a terminal."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for part in parts:
        if isinstance(part, str):
            console.print(Text(part), soft_wrap=True)
            continue
        drawn = RichTable(title=Text(part.title), title_justify="left")
        for position, column in enumerate(part.columns):
            drawn.add_column(Text(column), justify="right" if position else "left", no_wrap=True)
        for row in part.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)


def words(text: str) -> list[str]:
    """The parts of a comma list."""
    return [part.strip() for part in text.split(",") if part.strip()]
