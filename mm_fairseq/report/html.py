"""Web pages in one file and Markdown, from the templates beside this module."""

import re
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from .. import metrics
from ..tables import Table, markdown_text, number
from .sections import Report
from .tables import changes, p_value, signed


def page(report: Report) -> str:
    """The web page: style and pictures are inside it, nothing is fetched."""
    return render("report.html.j2", report=report, css=style())


def markdown(report: Report) -> str:
    """The same in Markdown; pictures are files beside it."""
    return render("report.md.j2", report=report)


def style() -> Markup:
    """The style sheet of all pages."""
    return Markup(_template("report.css"))


def render(template: str, **values: Any) -> str:
    """A template, filled in; strictly: a name that is not given is an error."""
    html = template.endswith(".html.j2")
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=html,
        lstrip_blocks=html,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "p_value": p_value,
        "share": _share,
        "unit": _unit,
        "svg": lambda picture: Markup(picture.inline),
        "changes": changes,
        "md": markdown_text,
        "md_table": Table.markdown,
    }
    return environment.get_template(template).render(**values).rstrip() + "\n"


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _share(cell: str, column: str) -> str | None:
    """The cell's number where it is a share of which more is better, so that a bar can be drawn."""
    lower = metrics.lower_is_better(column) or column in ("p", "score")
    return cell if not lower and re.fullmatch(r"[01]\.\d{3}", cell) and float(cell) <= 1 else None


def _unit(metric: str, *values: float) -> bool:
    """Whether a metric's values can be drawn on a line from 0 to 1."""
    return not metrics.lower_is_better(metric) and all(not np.isnan(value) and 0 <= value <= 1 for value in values)
