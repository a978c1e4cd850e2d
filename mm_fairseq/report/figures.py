"""Pictures of a report as SVG: text stays text, in any script, and the page gives them its own colours.

Drawn without a display, and the same for the same numbers.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .summary import Array, Summary

INK, QUIET, LINE, PAPER = "#1f2933", "#5f6c7b", "#e2e7ee", "#ffffff"
HIT, MISS = "#2563eb", "#d97706"
THEME = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    HIT: "rgb(var(--hit))",
    MISS: "rgb(var(--miss))",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mm_fairseq",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "text.color": INK,
}
SIZE = 3.9, 2.6  # inches: about 340 pixels wide in the page


@dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        name: of its file beside the page.
        title: what it shows.
        svg: the file: its own colours, on white.
    """

    name: str
    title: str
    svg: str

    @property
    def inline(self) -> str:
        """For a page: in the page's colours and font, as wide as its place, with names of its own."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
        size = re.search(r'viewBox="([^"]+)"', svg)
        assert size
        svg = re.sub(r"<svg [^>]*>", f'<svg viewBox="{size[1]}" role="img">', svg, count=1)
        # The first patch is the white of the file.
        svg = re.sub(r'<g id="patch_1">.*?</g>', "", svg, count=1, flags=re.DOTALL)
        svg = re.sub(r'(id="|url\(#|href="#)', lambda found: f"{found[1]}{self.name.removesuffix('.svg')}-", svg)
        for colour, variable in THEME.items():
            svg = svg.replace(colour, variable)
        return re.sub(r"font-family:[^;\"]+;? ?", "", svg).replace("\n", "")


def confusion(summary: Summary) -> str:
    """Heat map of a confusion matrix: shares of each true class, counts written into the cells."""
    rates, labels = summary.rates, [_short(label) for label in summary.classes]
    assert summary.matrix is not None
    side = max(3.0, 0.5 * len(labels) + 1.2)
    with _figure((side + 0.6, side)) as (figure, axes):
        colours = LinearSegmentedColormap.from_list("hits", [PAPER, HIT])
        picture = axes.pcolormesh(rates, cmap=colours, vmin=0, vmax=1, edgecolors=LINE, linewidth=0.5)
        for row, column in np.argwhere(summary.matrix if len(labels) > 12 else np.ones_like(rates)):
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{summary.matrix[row, column]}",
                ha="center",
                va="center",
                color=PAPER if rates[row, column] > 0.8 else INK,
                fontsize=9 if len(labels) < 12 else 6,
            )
        rotation = 45 if max(map(len, labels)) > 6 else 0
        ticks = np.arange(len(labels)) + 0.5
        axes.set_xticks(ticks, labels, rotation=rotation, ha="right" if rotation else "center", rotation_mode="anchor")
        axes.set_yticks(ticks, labels)
        axes.set(xlabel="prediction", ylabel="truth", title=f"{summary.group.name}, {summary.group.split}")
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.tick_params(length=0)
        figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class").outline.set_visible(False)
        return _svg(figure)


def scatter(summary: Summary) -> str:
    """Predictions against true values of a regression target."""
    with _figure((3.9, 3.6)) as (figure, axes):
        both = np.concatenate([summary.truth, summary.said, [-1.0, 1.0]])
        line = both.min(), both.max()
        axes.plot(line, line, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(summary.truth, summary.said, "o", color=HIT, alpha=0.45, markersize=3.5, markeredgewidth=0)
        axes.set(xlabel="truth", ylabel="prediction", title=f"{summary.group.name}, {summary.group.split}")
        axes.grid(visible=True, axis="both")
        return _svg(figure)


def curve(metric: str, by_tag: Mapping[str, Mapping[int, float]], best: int | None = None) -> str:
    """A metric by epoch.

    Args:
        metric: its name, the title.
        by_tag: `train` and `valid` -> epoch -> value.
        best: the epoch of the best checkpoint, which is marked.
    """
    with _figure(SIZE) as (figure, axes):
        for tag, colour in (("train", MISS), ("valid", HIT)):
            points = sorted(by_tag.get(tag, {}).items())
            if not points:
                continue
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) < 2 else None
            axes.plot(epochs, values, marker=marker, color=colour, linewidth=1.6, label=tag, markersize=4)
        if best is not None and (value := by_tag.get("valid", {}).get(best)) is not None:
            axes.plot(best, value, "o", color=HIT, markersize=6, markeredgecolor=PAPER, markeredgewidth=1.5)
            axes.axvline(best, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.set(title=metric, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.02)
        _legend(axes)
        return _svg(figure)


def reliability(bins: Mapping[str, Array], ece: float, of: str) -> str:
    """Reliability diagram, with the number of items in each bin below.

    Args:
        bins: as of `metrics.reliability`.
        ece: expected calibration error, for the title.
        of: what a bin's share is of, the label of its axis.
    """
    count = bins["count"]
    edges = np.linspace(0, 1, len(count) + 1)
    with _figure((3.9, 3.9), rows=(4, 1)) as (figure, upper, lower):
        filled = count > 0
        width = 0.9 / len(count)
        middle = (edges[:-1] + edges[1:]) / 2
        upper.bar(middle[filled], bins["accuracy"][filled], width, color=HIT, alpha=0.75)
        upper.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
        mean = {"color": MISS, "markersize": 4.5, "markeredgecolor": PAPER, "markeredgewidth": 0.8}
        upper.vlines(middle[filled], bins["accuracy"][filled], bins["confidence"][filled], color=MISS, linewidth=1.2)
        upper.plot(middle[filled], bins["confidence"][filled], "o", **mean, label="mean confidence")
        upper.set(ylabel=of, ylim=(0, 1.02), title=f"ece {ece:.3f}")
        upper.tick_params(labelbottom=False, length=0)
        _legend(upper)
        lower.bar(middle, count, width, color=QUIET, alpha=0.5)
        lower.set(xlabel="confidence", ylabel="count", xlim=(0, 1))
        lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        figure.align_ylabels([upper, lower])
        return _svg(figure)


def _legend(axes: Axes) -> None:
    """Right of the title, above the axes."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0.2, handlelength=1.2, labelcolor=QUIET)


@contextmanager
def _figure(size: tuple[float, float], rows: tuple[int, ...] = (1,)) -> Iterator[tuple[Any, ...]]:
    """A figure in the report's style, and its axes: one for each of the rows, of these heights."""
    # Fonts here measure the labels; the reader's draw them.
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, *figure.subplots(len(rows), height_ratios=rows, sharex=True, squeeze=False)[:, 0]


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    # Without date and version, equal pictures are equal files.
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _short(label: str) -> str:
    return label if len(label) <= 24 else f"{label[:23]}…"
