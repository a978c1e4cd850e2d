"""The picture of an explanation: sound, pictures and words on one time axis, and what each of them is worth.

Drawn by matplotlib without a display, and the same for the same numbers.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..atomic import write_atomic
from ..backbones.logmel import LogMel
from ..errors import MMFairseqError
from .clips import Inputs
from .explain import Explanation
from .fonts import drawable, drawing, families

DPI, WIDTH = 100, 12.0  # inches: 1200 pixels
LEFT, RIGHT, TOP, GAP = 1.5, 0.3, 0.6, 0.12  # inches
FORMATS = ("png", "svg", "pdf")
NAMES = {"audio": "sound", "video": "pictures", "text": "words"}
_HEIGHTS = {"audio": 1.3, "video": 0.95, "text": 0.42}
_CURVE, _ROW, _UPRIGHT = 0.74, 0.27, 1.05
_HEAD = 0.3  # above the last panel
_SMALL = 0.1  # of a score: its panel spans that at least
_LETTER = 6.6  # pixels, about, of 9 points
_HERTZ = (250, 1000, 4000)


@dataclass(frozen=True)
class Theme:
    """Colours."""

    paper: str
    ink: str
    quiet: str
    line: str
    audio: str
    video: str
    text: str
    bar: str
    loud: tuple[str, ...]  # from silence to loud


THEMES = {
    "light": Theme(
        *("#ffffff", "#1f2933", "#5f6c7b", "#d5dce5"),
        *("#2563eb", "#0f8a6d", "#b45309", "#64748b"),
        ("#ffffff", "#bcd2fb", "#2563eb", "#0b1f57"),
    ),
    "dark": Theme(
        *("#1a1f27", "#e4e9f0", "#a3aebd", "#3a4452"),
        *("#7aa7ff", "#3ecfa8", "#f5a73c", "#8b99ab"),
        ("#1a1f27", "#24437f", "#6ea0ff", "#f2f6ff"),
    ),
}


def draw(
    explanation: Explanation,
    inputs: Inputs,
    file: str | os.PathLike | IO[bytes],
    theme: str = "light",
    format: str | None = None,
) -> None:
    """Draw an explanation, 1200 pixels wide.

    Args:
        explanation: what to draw.
        inputs: what it is of.
        file: a path, or a file that is open for bytes.
        theme: one of THEMES, as the page around it is.
        format: one of FORMATS; by the name of the path, or png, where None.

    Raises:
        MMFairseqError: no such theme or format.
        OSError: the file cannot be written.
    """
    named = isinstance(file, str | os.PathLike)
    if format is None:
        format = (Path(file).suffix[1:].lower() if named else "") or "png"  # type: ignore[arg-type]
    for value, allowed, what in ((theme, tuple(THEMES), "theme"), (format, FORMATS, "format of a picture")):
        if value not in allowed:
            raise MMFairseqError(f"{what} {value!r}; allowed: {', '.join(allowed)}")
    content = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    with drawing, rc_context({"svg.hashsalt": "mm_fairseq"}):  # or names of parts are drawn at random
        figure = _Picture(explanation, inputs, THEMES[theme]).figure
        figure.savefig(content, format=format, facecolor=figure.get_facecolor(), metadata=metadata[format])
    if named:
        write_atomic(file, content.getvalue())  # type: ignore[arg-type]
    else:
        file.write(content.getvalue())  # type: ignore[union-attr]


class _Picture:
    """Panels from the top down."""

    def __init__(self, explanation: Explanation, inputs: Inputs, theme: Theme) -> None:
        self.told, self.inputs, self.theme = explanation, inputs, theme
        self.across = WIDTH - LEFT - RIGHT  # inches
        names = [name for name in ("audio", "video", "text") if name in inputs.items]
        self.upright = self._needs_height()
        heights = {name: _UPRIGHT if name == "text" and self.upright else _HEIGHTS[name] for name in names}
        rows = max(1, len(explanation.effects))
        self.below = 0.45 + 0.2 * len(set(explanation.notes.values()))
        shown = sum(heights.values()) + len(names) * (_CURVE + 2 * GAP)
        total = TOP + shown + self.below + _HEAD + rows * _ROW + 0.35
        self.figure = Figure(figsize=(WIDTH, total), dpi=DPI, facecolor=theme.paper)
        FigureCanvasAgg(self.figure)
        self.height, self.at = total, total - TOP
        self._title()
        for name in names:
            self._content(name, self._axes(heights[name]))
            self.at -= GAP / 3
            self._curve(name, self._axes(_CURVE), last=name == names[-1])
            self.at -= 2 * GAP - GAP / 3
        self._below()
        self.at -= _HEAD
        self._effects(self._axes(rows * _ROW))

    # Places and words

    def _axes(self, height: float) -> Axes:
        self.at -= height
        box = (LEFT / WIDTH, self.at / self.height, self.across / WIDTH, height / self.height)
        axes = self.figure.add_axes(box, facecolor="none")
        axes.tick_params(colors=self.theme.quiet, labelsize=8, length=0, labelfontfamily=families())
        for spine in axes.spines.values():
            spine.set(color=self.theme.line, linewidth=0.8)
        return axes

    def _write(self, place: Axes | Figure, x: float, y: float, text: str, most: int = 200, **how: Any) -> None:
        """`text` may be anybody's."""
        style: dict[str, Any] = {"color": self.theme.quiet, "fontsize": 8, "family": families(), "parse_math": False}
        place.text(x, y, drawable(text, most), **(style | how))

    def _label(self, axes: Axes, text: str, **how: Any) -> None:
        self._write(axes, -0.045, 0.5, text, ha="right", va="center", transform=axes.transAxes, **how)

    def _title(self) -> None:
        told, left = self.told, LEFT / WIDTH
        y = 1 - 0.28 / self.height
        score = f"{told.score:.3f}" if told.label != told.target else f"{told.score:.4g}"
        self._write(
            self.figure,
            left,
            y,
            f"{told.label} {score}",
            60,
            fontsize=15,
            color=self.theme.ink,
            va="center",
            weight="bold",
        )
        about = " · ".join(filter(None, (told.target, told.architecture, told.answer.id)))
        self._write(self.figure, 1 - RIGHT / WIDTH, y, about, 90, ha="right", va="center", fontsize=9)

    # What there is of each modality

    def _content(self, name: str, axes: Axes) -> None:
        self._label(axes, NAMES[name], fontsize=10, color=self.theme.ink, weight="bold")
        item = self.inputs.items[name]
        axes.set(xticks=[], yticks=[])
        if item.ndim == 2:
            self._image(axes, item.T, self.told.reach[name])
        elif name == "audio":
            self._spectrogram(axes, item)
        elif name == "video":
            self._thumbnails(axes, item)
        else:
            self._words(axes)
        axes.set_xlim(0, self.told.length)

    def _image(self, axes: Axes, values: np.ndarray, reach: float, lowest: float = -np.inf) -> None:
        low, high = np.percentile(values, (5, 99.7))
        low = max(low, lowest)
        colours = LinearSegmentedColormap.from_list("loud", self.theme.loud)
        extent = (0.0, reach, 0.0, float(len(values)))
        limits = {"vmin": low, "vmax": max(high, low + 1e-3)}
        axes.imshow(values, colours, aspect="auto", origin="lower", extent=extent, interpolation="nearest", **limits)

    def _spectrogram(self, axes: Axes, samples: np.ndarray) -> None:
        encoder = LogMel(n_mels=64)
        x = torch.from_numpy(np.ascontiguousarray(samples))[None]
        with torch.inference_mode():
            frames = encoder(x, torch.zeros_like(x, dtype=torch.bool)).x[0]
        self._image(axes, frames.T.numpy(), self.told.reach["audio"], float(frames.max()) - 3.0)  # 12 nepers: 52 dB
        bands = len(frames[0]) * np.log1p(np.array(_HERTZ) / 700) / np.log1p(8000 / 700)
        axes.set_yticks(bands, [f"{hertz / 1000:g} kHz" for hertz in _HERTZ])
        axes.tick_params(labelsize=7)

    def _thumbnails(self, axes: Axes, frames: np.ndarray) -> None:
        """As many pictures as fit, each where it was seen; whole as the model sees them."""
        reach, length = self.told.reach["video"], self.told.length
        height, width = frames.shape[2:]
        wide = _HEIGHTS["video"] * width / height / self.across * length  # in the unit of time
        count = min(len(frames), max(1, int(reach / wide / 1.04)))
        for number in range(count):
            middle = (number + 0.5) / count * reach
            frame = frames[min(len(frames) - 1, int(middle / reach * len(frames)))].transpose(1, 2, 0)
            start = min(max(0.0, middle - wide / 2), max(0.0, length - wide))
            axes.imshow(frame, extent=(start, start + wide, 0.0, 1.0), aspect="auto", interpolation="antialiased")
        axes.set_ylim(0, 1)
        axes.spines[:].set_visible(False)

    def _needs_height(self) -> bool:
        """Whether words must stand upright to have room."""
        words = self.told.words
        room = self.across * DPI / max(1, len(words))
        return any(len(word.word) * _LETTER > room for word in words)

    def _words(self, axes: Axes) -> None:
        words = self.told.words
        weights = [word.weight or 0.0 for word in words]
        most = max([*weights, 1e-9])
        for word, weight in zip(words, weights, strict=True):
            alpha = 0.06 + 0.44 * weight / most
            axes.axvspan(word.start, word.end, color=self.theme.text, alpha=alpha, linewidth=0)
            axes.axvline(word.end, color=self.theme.paper, linewidth=1)
        for number in _with_room(weights, self.across * DPI / max(1, len(words))):
            word = words[number]
            how: dict[str, Any] = {"rotation": 90, "fontsize": 8} if self.upright else {"fontsize": 9}
            middle = (word.start + word.end) / 2
            self._write(axes, middle, 0.5, word.word, 17, ha="center", va="center", color=self.theme.ink, **how)
        axes.set_ylim(0, 1)
        axes.spines[:].set_visible(False)

    # Attention

    def _curve(self, name: str, axes: Axes, last: bool) -> None:
        seen, colour = self.told.shown[name], getattr(self.theme, name)
        axes.set(xlim=(0, self.told.length), yticks=[])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelbottom=last)
        if seen is None:
            axes.set_ylim(0, 1)
            self._write(axes, 0.5, 0.5, self.told.reason(name), ha="center", va="center", transform=axes.transAxes)
            return
        words = self.told.words if name == "text" else ()
        spans = [(word.start, word.end) for word in words] or list(seen.frames)
        weights = [word.weight or 0.0 for word in words] or list(seen.weights)
        values = np.array(weights) * len(weights)
        edges = _edges(spans)
        axes.stairs(values, edges, fill=True, color=colour, alpha=0.25, linewidth=0)
        axes.stairs(values, edges, baseline=None, color=colour, linewidth=1.2)
        axes.axhline(1, color=self.theme.quiet, linewidth=0.7, linestyle=(0, (4, 3)))
        most = max(2.0, float(values.max()))
        axes.set_ylim(0, most / 0.78)  # room for words
        axes.set_yticks([0, 1, most] if most < 8 else [0, most], ["0", "even", f"{most:.1f}×"][:: 1 if most < 8 else 2])
        axes.tick_params(labelsize=7)
        self._label(axes, "attention")
        asks = f" of {' and '.join(NAMES[ask] for ask in seen.asks)}" if seen.kind == "cross" else ""
        about = {"cross": f"attention{asks}", "self": "attention within it", "pooling": "weights of its pooling"}
        told = about.get(seen.kind, "attention of the latents")
        self._write(axes, 0.998, 0.97, told, fontsize=7.5, ha="right", va="top", transform=axes.transAxes)

    def _below(self) -> None:
        """Under the time axis: its unit, and where times are made up."""
        y, middle = self.at - 0.14, (LEFT + self.across / 2) / WIDTH
        unit = "seconds" if self.told.unit == "seconds" else "share of the clip, whose length is not known"
        for number, text in enumerate([unit, *dict.fromkeys(self.told.notes.values())]):
            self._write(self.figure, middle, (y - 0.2 * number) / self.height, text, ha="center", va="center")
        self.at -= self.below

    # What each modality is worth

    def _effects(self, axes: Axes) -> None:
        told, theme = self.told, self.theme
        axes.spines[["top", "right", "left"]].set_visible(False)
        what, digits = ("", ".4g") if told.label == told.target else ("score of ", ".3f")
        if not told.effects:
            axes.set_axis_off()
            self._write(axes, 0.5, 0.4, "one modality alone: nothing to leave out", ha="center", va="center")
            return
        head = f"{what}{told.label} without …   ({told.score:{digits}} with everything)"
        self._write(axes, 0, 1.02, head, 120, fontsize=9, color=theme.ink, va="bottom", transform=axes.transAxes)
        changes = [effect.change for effect in told.effects]
        axes.barh(range(len(changes)), changes, 0.62, color=theme.bar)
        axes.axvline(0, color=theme.quiet, linewidth=0.8)
        low, high = min(0.0, *changes), max(0.0, *changes)
        least = _SMALL if what else 1e-6  # changes of next to nothing are not to look large
        low, high = (min(low, -least), high) if -low >= high else (low, max(high, least))
        span = high - low
        axes.set_xlim(low - span * (0.24 if low < 0 else 0.02), high + span * (0.24 if high > 0 else 0.02))
        axes.set_ylim(len(changes) - 0.5, -0.5)
        names = [" and ".join(NAMES[name] for name in effect.without) for effect in told.effects]
        axes.set_yticks(range(len(changes)), names)
        axes.tick_params(axis="y", labelsize=8.5, labelcolor=theme.ink)
        for row, effect in enumerate(told.effects):
            best = effect.answer.targets[told.target][0]["label"]
            change = f"{effect.change:+{digits}}".replace("-", "−")
            text = f"{effect.score:{digits}} ({change})" + ("" if best == told.label else f", then {best}")
            side, away = ("left", 0.006) if effect.change >= 0 else ("right", -0.006)
            x = effect.change + away * span
            self._write(axes, x, row, text, 70, ha=side, va="center", fontsize=8.5, color=theme.ink)


def _edges(spans: Sequence[tuple[float, float]]) -> np.ndarray:
    """Where one frame gives way to the next: half way between their middles, for their spans may overlap."""
    starts, ends = np.array(spans).T
    middles = (starts + ends) / 2
    return np.concatenate([starts[:1], (middles[1:] + middles[:-1]) / 2, ends[-1:]])


def _with_room(weights: Sequence[float], room: float, least: float = 11.0) -> list[int]:
    """Of words that have `room` pixels each, those that can be written: all, or the heaviest that keep apart."""
    apart = max(1, int(np.ceil(least / max(room, 1e-9))))
    kept: list[int] = []
    for number in sorted(range(len(weights)), key=lambda at: -weights[at]):
        if all(abs(number - other) >= apart for other in kept):
            kept.append(number)
    return sorted(kept)
