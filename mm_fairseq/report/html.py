"""The report as a web page in one file and as Markdown, from the templates beside this module."""

import base64
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from .tables import Summary, Table, number


@dataclass(frozen=True)
class Section:
    """One target on one split, ready to be laid out.

    Args:
        headline: this run beside those it is compared with.
        different: names of runs scored on other utterances.
        confusion: the matrix as text; None for regression.
        picture: file name of the picture.
        picture_png: its bytes.
    """

    summary: Summary
    headline: Table
    different: list[str]
    confusion: Table | None
    picture: str
    picture_png: bytes

    @property
    def picture_base64(self) -> str:
        return base64.b64encode(self.picture_png).decode()


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        name: of the run.
        exact: split, and (share, number) of utterances right in every target.
        legend: metric names and what they mean.
    """

    name: str
    sections: list[Section]
    exact: list[tuple[str, tuple[float, int]]]
    legend: list[tuple[str, str]]


def page(report: Report) -> str:
    """The web page: style and pictures are inside it, nothing is fetched."""
    return _render("report.html.j2", report, css=Markup(_template("report.css")))


def markdown(report: Report) -> str:
    """The same in Markdown; pictures are files beside it."""
    return _render("report.md.j2", report)


def _render(template: str, report: Report, **extra: Any) -> str:
    environment = Environment(loader=BaseLoader(), autoescape=template.endswith(".html.j2"), undefined=StrictUndefined)
    environment.filters |= {"number": number, "share": _share, "md": _markdown_text, "md_table": _markdown_table}
    return environment.from_string(_template(template)).render(report=report, **extra).rstrip() + "\n"


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _share(cell: str, column: str) -> str | None:
    """The cell's number where it is a share, of which a bar can be drawn; an error is none."""
    return cell if column != "mae" and re.fullmatch(r"[01]\.\d{3}", cell) and float(cell) <= 1 else None


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rule = ["---", *(["---:" if table.numeric else "---"] * (len(table.columns) - 1))]
    lines = [[_markdown_text(cell) for cell in row] for row in (table.columns, *table.rows)]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
