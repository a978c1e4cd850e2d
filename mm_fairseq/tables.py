"""Tables of results: as text in cells, as Markdown, and as numbers for json and csv."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """A titled table of text; the first column names the row, the others are numbers where `numeric` says so."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: bool = True
    note: str = ""

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        rule = ["---", *(["---:" if self.numeric else "---"] * (len(self.columns) - 1))]
        lines = [[markdown_text(cell) for cell in row] for row in (self.columns, *self.rows)]
        lines.insert(1, rule)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def number(value: float | None) -> str:
    """Three decimals; a dash where the value is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def span(low: float, high: float) -> str:
    """An interval; a dash where it is not defined."""
    return "-" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Comma-separated values; six decimals, empty where a value is not defined."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        cells = [("" if math.isnan(cell) else f"{cell:.6f}") if isinstance(cell, float) else cell for cell in row]
        writer.writerow(cells)
    return file.getvalue()


def to_json(value: Mapping[str, Any]) -> str:
    """Indented JSON with null for what is not defined."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
