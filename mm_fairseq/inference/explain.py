"""Why a model answers as it does for one clip: what it attended to over time, and what each modality was worth.

Attention says where a model looked, not what moved its answer (Jain and Wallace 2019, "Attention is not explanation",
arXiv 1902.10186); what leaving out a modality does to the scores is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch

from ..backbones import SAMPLE_RATE, FeatureSeq
from ..errors import MMFairseqError
from ..media.dictionary import UNKNOWN
from ..modules.recording import recorded
from .attention import Axis, Curve, Shown, Span, curves, shown
from .clips import Inputs
from .model import Answer, EmotionModel
from .words import Word, words_of

ENDS = 2  # <s> and </s>, which are no words
WORDS_NOTE = "words have no times of their own: they are laid evenly over the clip"
FEATURES_NOTE = "features have no times of their own: their frames are laid evenly over the clip"
WINDOWS_NOTE = (
    "the model looks at windows of the clip: what lies in several of them counts in each, what lies in none not at all"
)
_KINDS = {
    "cross": "attention of other modalities",
    "self": "attention within the modality, for no other one attends to it",
    "pooling": "weights of the frames in the vector that the heads read",
    "latents": "attention of the latents, mean over all of them",
}


@dataclass(frozen=True)
class Spoken:
    """A word as written; `start` and `end` in the explanation's unit, `weight` None where nothing attends to text."""

    word: str
    start: float
    end: float
    weight: float | None
    symbols: tuple[str, ...]
    unknown: bool


@dataclass(frozen=True)
class Effect:
    """The answer without some modalities, and by how much the score of the explained label changed."""

    without: tuple[str, ...]
    answer: Answer
    score: float
    change: float


@dataclass(frozen=True)
class Explanation:
    """Of the answer for one clip.

    Attributes:
        architecture: of the model.
        answer: with all modalities.
        target: what is explained, and its `label`, the best one, with its `score`; a number's label is the target.
        unit: of all times: "seconds", or "share" of a clip whose length is not known.
        length: of the clip in this unit.
        reach: up to where each modality goes in this unit.
        curves: every attention over time, in the order of the model.
        shown: of each modality, what a picture shows; None where nothing attends over its time.
        words: of the text, where it came as words.
        effects: of leaving out each set of modalities that leaves one.
        notes: on the times and what is seen of them, by modality.
    """

    architecture: str
    answer: Answer
    target: str
    label: str
    score: float
    unit: str
    length: float
    reach: dict[str, float]
    curves: tuple[Curve, ...]
    shown: dict[str, Shown | None]
    words: tuple[Spoken, ...]
    effects: tuple[Effect, ...]
    notes: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types.

        - `answer`: as `Answer.to_json`; `architecture`, `target`, `label`, `score`, `unit`, `length`, `reach`: as here;
        - `attention`: modality -> `{"shown", "reason", "note", "layers"}`. `shown` has `frames` (start and end of
          each), `weights` (sum 1), `kind`, `asks` (modalities), `paths` (of modules) and `about` (in words); or it is
          null, and `reason` says why. `note` says where times are made up, and the like. `layers` lists every attention
          over this modality's time, with `kind`, `asks`, `layer`, `path`, `frames`, `weights` and `share`, see
          `attention.Curve`;
        - `words`: `{"word", "start", "end", "weight", "symbols", "unknown"}` each, `unknown` where the model has no
          symbol for a part of it;
        - `without`: `{"without", "modalities", "label", "score", "change", "targets"}` each: what is left out and left,
          the label that is best then, the score of the explained label, its change, all scores.
        """
        return {
            "answer": self.answer.to_json(),
            "architecture": self.architecture,
            "target": self.target,
            "label": self.label,
            "score": self.score,
            "unit": self.unit,
            "length": self.length,
            "reach": self.reach,
            "attention": {name: self._attention(name) for name in self.answer.modalities},
            "words": [{**vars(word), "symbols": list(word.symbols)} for word in self.words],
            "without": [
                {
                    "without": list(effect.without),
                    "modalities": effect.answer.modalities,
                    "label": effect.answer.targets[self.target][0]["label"],
                    "score": effect.score,
                    "change": effect.change,
                    "targets": effect.answer.targets,
                }
                for effect in self.effects
            ],
        }

    def _attention(self, name: str) -> dict[str, Any]:
        found = self.shown[name]
        about = None if found is None else {**_plain(found), "about": _KINDS[found.kind]}
        return {
            "shown": about,
            "reason": None if found else self.reason(name),
            "note": self.notes.get(name),
            "layers": [_plain(curve) for curve in self.curves if curve.modality == name],
        }

    def reason(self, name: str) -> str:
        """Why nothing is shown of a modality."""
        return f"no part of this model's fusion attends over the time of {name}: it takes one vector of it as it stands"


def _plain(found: Curve | Shown) -> dict[str, Any]:
    out = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(found).items()}
    return out | {"frames": [list(span) for span in found.frames]}


@torch.inference_mode()
def explain(model: EmotionModel, inputs: Inputs, target: str | None = None) -> Explanation:
    """Explain the answer for one clip.

    Backbones run once; the fusion once for each set of modalities that is left, withheld as fairseq-validate's
    --modalities does.

    Args:
        model: which answers.
        inputs: of `model.read`.
        target: whose best label is explained; the first where None.

    Raises:
        MMFairseqError: no such target, the checkpoint lacks a backbone, or a score is not a finite number.
    """
    target = next(iter(model.kinds)) if target is None else target
    if target not in model.kinds:
        raise MMFairseqError(f"target {target!r}: the model predicts {', '.join(model.kinds)}")
    batch = model.batch([inputs])
    features = model.model.backbones.encode(batch["inputs"], batch["padding_masks"])
    with recorded(model.model) as found:
        whole = _answer(model, inputs, features, ())
    best = whole.targets[target][0]
    present = whole.modalities
    effects = []
    for count in range(1, len(present)):
        for gone in combinations(present, count):
            answer = _answer(model, inputs, features, gone)
            score = {each["label"]: each["score"] for each in answer.targets[target]}[best["label"]]
            effects.append(Effect(gone, answer, score, score - best["score"]))
    seconds = _seconds(model, inputs)
    length = seconds or 1.0
    words = _words(model, inputs, length)
    axes = {name: _axis(model, inputs, name, features[name], length, words) for name in present}
    own = curves(found, model.model.attends, axes)
    seen = {name: shown(own, name) for name in present}
    return Explanation(
        model.architecture,
        whole,
        target,
        best["label"],
        best["score"],
        "seconds" if seconds else "share",
        length,
        {name: axis.length for name, axis in axes.items()},
        tuple(curve for _, curve in own),
        seen,
        tuple(_spoken(word, inputs.items["text"], seen["text"]) for word in words),
        tuple(effects),
        {name: note for name in present if (note := _note(model, name, seen[name]))},
    )


def _answer(model: EmotionModel, inputs: Inputs, features: Mapping[str, FeatureSeq], gone: Sequence[str]) -> Answer:
    """The answer of a model whose backbones have been at the inputs already, some modalities withheld."""
    masks = {
        name: torch.ones_like(each.padding_mask) if name in gone else each.padding_mask
        for name, each in features.items()
    }
    logits = model.model({name: each.x for name, each in features.items()}, masks)["logits"]
    scores = {name: kind.probabilities(logits[name].float())[0].cpu().numpy() for name, kind in model.kinds.items()}
    for name, found in scores.items():
        if not np.isfinite(found).all():
            raise MMFairseqError(
                f"the model's prediction of {name!r} is not a finite number for {inputs.id or 'the clip'}"
            )
    return Answer(inputs.without(gone), model.kinds, scores, None)


def _seconds(model: EmotionModel, inputs: Inputs) -> float | None:
    """Length of the clip, by its longest modality; None where no modality has a time of its own."""
    own = [len(item) / _rate(model, name) for name, item in inputs.items.items() if _timed(model, inputs, name)]
    return max([*own, inputs.seconds or 0.0], default=0.0) or None


def _timed(model: EmotionModel, inputs: Inputs, name: str) -> bool:
    return name != "text" and name in inputs.items and name not in model.reader.dims


def _note(model: EmotionModel, name: str, seen: Shown | None) -> str | None:
    if name in model.reader.dims:
        return FEATURES_NOTE
    if seen and seen.kind == "latents" and name != "text":
        return WINDOWS_NOTE
    return WORDS_NOTE if name == "text" else None


class _Placed(NamedTuple):
    """A word, its place in time, and its symbols."""

    word: Word
    start: float
    end: float
    symbols: tuple[str, ...]


def _words(model: EmotionModel, inputs: Inputs, length: float) -> list[_Placed]:
    """The words of the symbols that the model read; with those that it did not, they lie evenly over the clip."""
    texts = model.reader.texts
    if "text" not in inputs.items or texts is None:
        return []
    encode = texts.tokenizer.encode
    words, left = words_of(inputs.text, encode, len(inputs.items["text"]) - ENDS)
    symbols, step = tuple(encode(inputs.text)), length / max(1, len(words) + left)
    return [
        _Placed(word, number * step, (number + 1) * step, symbols[word.first : word.end])
        for number, word in enumerate(words)
    ]


def _spoken(placed: _Placed, item: np.ndarray, seen: Shown | None) -> Spoken:
    part = slice(placed.word.first, placed.word.end)
    weight = None if seen is None else float(f"{sum(seen.weights[part]):.6g}")
    unknown = bool((item[1:-1][part] == UNKNOWN).any())
    return Spoken(placed.word.text, placed.start, placed.end, weight, placed.symbols, unknown)


def _axis(
    model: EmotionModel, inputs: Inputs, name: str, features: FeatureSeq, length: float, words: Sequence[_Placed]
) -> Axis:
    """When what the fusion attends to of a modality was."""
    count, frames = len(inputs.items[name]), int((~features.padding_mask).sum())
    encoder: Any = model.model.backbones.encoders[name]
    symbols = [span for placed in words for span in _parts(placed)]
    step = 1 / _rate(model, name) if _timed(model, inputs, name) else length / count

    def place(start: int, end: int) -> Span | None:
        if name != "text" or not words:
            return start * step, end * step
        return symbols[start - 1] if 0 < start <= len(symbols) else None  # <s> and </s> are not spoken

    spans = [None if span is None else place(*span) for span in encoder.spans(frames, count)]
    reach = words[-1].end if name == "text" and words else count * step
    return Axis([None] * model.model.in_front(name) + spans, reach)


def _parts(placed: _Placed) -> list[Span]:
    """The symbols of a word, evenly."""
    count = len(placed.symbols)
    bounds = np.linspace(placed.start, placed.end, count + 1).tolist()
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _rate(model: EmotionModel, name: str) -> float:
    """Samples or pictures a second."""
    return float(SAMPLE_RATE if name == "audio" else model.state["meta"]["fps"])
