"""A picture of scores along a recording: a line for each label, and under them a bar of the one that leads.

K labels of a target, N bins of time.
"""

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from ..atomic import write_atomic
from .fonts import drawable, drawing, families

BINS = 600  # of a picture; longer recordings have means of several windows in one
WIDTH, HEIGHT, DPI = 11.0, 2.4, 110  # inches, those of one target; dots an inch
INK, QUIET, LINE, NOTHING = "#1f2933", "#5f6c7b", "#e2e7ee", "#d5dae1"
# Of Okabe and Ito, told apart by the colour-blind, then of the same kind
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c564b", "#7f7f7f", "#bcbd22")
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # seconds between marks
_MARKS = 11
_WIDE = 0.07  # of the picture: a run in the bar has its label from this width on
_STYLE: dict[Any, Any] = {
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
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "legend.frameon": False,
    "text.color": INK,
}


class Point(NamedTuple):
    """What is to be shown between two seconds: target to label to score; empty where nothing was answered."""

    start: float
    end: float
    scores: Mapping[str, Mapping[str, float]]


class _Binned(NamedTuple):
    """Edges in seconds, shape (N + 1); target to mean scores, shape (N, K), NaN where nothing was answered."""

    edges: np.ndarray
    scores: dict[str, np.ndarray]
    each: int


def draw_timeline(
    path: str | os.PathLike,
    points: Iterable[Point],
    labels: Mapping[str, Sequence[str]],
    count: int,
    title: str = "",
) -> None:
    """Write a PNG.

    Args:
        path: of the file, which appears whole.
        points: in the order of time, without gaps; as many as `count`, of which none is kept.
        labels: target to its labels; that of a number is its own name.
        count: of the points.
        title: of the picture.

    Raises:
        OSError: there is no room for it.
    """
    binned = _bin(points, labels, count)
    with drawing, rc_context(_STYLE | {"font.family": families()}):
        figure = Figure(figsize=(WIDTH, 0.6 + HEIGHT * len(labels)), layout="constrained", dpi=DPI)
        FigureCanvasAgg(figure)
        ratios = [part for _ in labels for part in (5, 0.7)]
        axes = figure.subplots(2 * len(labels), height_ratios=ratios, sharex=True, squeeze=False)[:, 0]
        for number, (target, names) in enumerate(labels.items()):
            _draw(axes[2 * number], axes[2 * number + 1], binned, target, names)
        if title:
            axes[0].set_title(f"{drawable(title, 90)}: {axes[0].get_title(loc='left')}")
        _mark_time(axes[-1], binned)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    write_atomic(path, file.getvalue())


def _bin(points: Iterable[Point], labels: Mapping[str, Sequence[str]], count: int) -> _Binned:
    each = max(1, math.ceil(count / BINS))
    bins = max(1, math.ceil(count / each))
    edges, held = np.zeros(bins + 1), np.zeros(bins)
    sums = {target: np.zeros((bins, len(names))) for target, names in labels.items()}
    for number, point in enumerate(points):
        at = number // each
        if number % each == 0:
            edges[at] = point.start
        edges[at + 1] = point.end
        if point.scores:
            held[at] += 1
            for target, names in labels.items():
                sums[target][at] += [point.scores[target][name] for name in names]
    with np.errstate(invalid="ignore"):
        return _Binned(edges, {target: found / held[:, None] for target, found in sums.items()}, each)


def _draw(upper: Axes, lower: Axes, binned: _Binned, target: str, names: Sequence[str]) -> None:
    scores, edges = binned.scores[target], binned.edges
    for number, name in enumerate(names):
        label = f" {drawable(name, 22)}"  # the legend would leave out one that begins with "_"
        upper.stairs(scores[:, number], edges, baseline=None, color=_colour(number), linewidth=1.4, label=label)
    number_only = tuple(names) == (target,)
    upper.set(title=drawable(target, 40), ylabel="value" if number_only else "score")
    if not number_only:
        upper.set_ylim(0, max(1.0, float(np.nanmax(scores, initial=0.0)) * 1.02))
        upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), ncols=1 + len(names) // 11, handlelength=1.2)
    upper.tick_params(axis="x", length=0)
    _bar(lower, scores, edges, [] if number_only else names)
    lower.set(ylim=(0, 1), yticks=[])
    lower.grid(visible=False)
    for side in lower.spines.values():
        side.set_visible(False)


def _bar(axes: Axes, scores: np.ndarray, edges: np.ndarray, names: Sequence[str]) -> None:
    """Runs of bins that the same label leads; hatched where there is no answer."""
    answered = ~np.isnan(scores).any(1)
    leading = np.where(answered, np.nan_to_num(scores).argmax(1), -1)
    for label, run in groupby(range(len(leading)), key=lambda at: int(leading[at])):
        numbers = list(run)
        start, end = edges[numbers[0]], edges[numbers[-1] + 1]
        if label < 0:
            axes.axvspan(start, end, facecolor="none", edgecolor=NOTHING, hatch="////", linewidth=0)
        if label < 0 or not names:
            continue
        axes.axvspan(start, end, color=_colour(label), linewidth=0, alpha=0.85)
        if end - start > _WIDE * (edges[-1] - edges[0]):
            middle = (start + end) / 2
            text = drawable(names[label], 12)
            axes.text(middle, 0.47, text, ha="center", va="center", color="white", fontsize=8)


def _mark_time(axes: Axes, binned: _Binned) -> None:
    first, last = float(binned.edges[0]), float(binned.edges[-1])
    step = next((step for step in _STEPS if (last - first) / step <= _MARKS), _STEPS[-1])
    axes.set_xlim(first, last)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    told = "time" if binned.each == 1 else f"time; every point is the mean of {binned.each} windows"
    axes.set_xlabel(f"{told} (hours:minutes:seconds)" if last >= 3600 else f"{told} (minutes:seconds)")


def clock(seconds: float) -> str:
    """Hours where there are some, minutes and seconds."""
    whole = round(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02}"


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
