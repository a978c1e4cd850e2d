"""Pictures of a report as PNG bytes, drawn without a display and the same for the same numbers."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .tables import Summary

INK, ACCENT = "#1f2933", "#2563eb"
DPI = 150


def confusion(summary: Summary) -> bytes:
    """Heat map of a confusion matrix: shares of each true class, counts written into the cells."""
    classes, rates = summary.classes, summary.rates
    assert summary.matrix is not None
    side = max(3.6, 0.72 * len(classes) + 1.8)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
    small = 9 if len(classes) <= 10 else 6
    for row, column in np.ndindex(*rates.shape):
        axes.text(
            column,
            row,
            f"{summary.matrix[row, column]}",
            ha="center",
            va="center",
            fontsize=small,
            color="white" if rates[row, column] > 0.55 else INK,
        )
    rotation = 45 if max(map(len, classes)) * len(classes) > 40 else 0
    axes.set_xticks(
        range(len(classes)), classes, rotation=rotation, ha="right" if rotation else "center", fontsize=small
    )
    axes.set_yticks(range(len(classes)), classes, fontsize=small)
    axes.set(xlabel="prediction", ylabel="truth", title=f"{summary.group.name}, {summary.group.split}")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class")
    return _png(figure)


def scatter(summary: Summary) -> bytes:
    """Predictions against true values of a regression target."""
    items = summary.group.labelled
    truth = np.array([item.target for item in items], float)
    prediction = np.array([item.prediction for item in items], float)
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    both = np.concatenate([truth, prediction, [-1.0, 1.0]])
    line = both.min(), both.max()
    axes.plot(line, line, color=INK, linewidth=0.8, alpha=0.5)
    axes.scatter(truth, prediction, s=14, color=ACCENT, alpha=0.5, linewidths=0)
    axes.set(xlabel="truth", ylabel="prediction", title=f"{summary.group.name}, {summary.group.split}")
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    # Without the metadata, which names the version of matplotlib, equal pictures are equal files.
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()
