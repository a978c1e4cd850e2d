"""The API on a plain page, read off its OpenAPI document."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: API</title><link rel="stylesheet" href="/page/style.css"></head>
<body><main class="doc"><p><a href="/">Back to the page</a> · <a href="/openapi.json">openapi.json</a></p>
<h1>{title}</h1>{about}{routes}</main></body></html>
"""


def listing(document: Mapping[str, Any]) -> str:
    """HTML that tells of every route.

    Args:
        document: of OpenAPI.
    """
    about = "".join(f"<p>{escape(part)}</p>" for part in document["info"]["description"].strip().split("\n\n"))
    routes = [_route(path, method, route) for path, ways in document["paths"].items() for method, route in ways.items()]
    return _PAGE.format(title=escape(document["info"]["title"]), about=about, routes="".join(routes))


def _route(path: str, method: str, route: Mapping[str, Any]) -> str:
    told = f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(route.get('description', ''))}</p>"
    form = route.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    fields = [(name, _kind(of), of.get("description", "")) for name, of in form.get("properties", {}).items()]
    fields += [(of["name"], _kind(of["schema"]), of.get("description", "")) for of in route.get("parameters", [])]
    answers = [(status, of["description"]) for status, of in route["responses"].items()]
    name = f"{method.upper()} {path}"
    return (
        told
        + _table(f"what {name} takes", ("part", "type", "what"), fields)
        + _table(f"what {name} answers", ("status", "meaning"), answers)
    )


def _kind(schema: Mapping[str, Any]) -> str:
    return "file" if schema.get("format") == "binary" else schema.get("type", "")


def _table(name: str, head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    table = f'<table><caption class="unseen">{escape(name)}</caption><tr>{top}</tr>{lines}</table>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{table}</div>'
