"""Clips made into the inputs of a model, just as `mm-fairseq binarize` makes them.

T samples, tokens or frames; H height, W width; D width of features.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..databin.format import frame_sizes
from ..datasets import EMPTY, Limits, input_lengths, pad, read_item
from ..errors import MMFairseqError
from ..manifest import MODALITIES
from ..media import MediaError, check_span
from ..media import bounds as media_bounds
from ..media.audio import to_pcm
from ..media.child import reader
from ..media.clip import read_clip, to_clip
from ..media.dictionary import UNKNOWN, TokenIds
from ..media.video import MAX_PIXELS
from ..preprocessing.items import MIN_SAMPLES, READERS, SAMPLE_RATE, Items, Settings, packed
from .clips import Clip, Inputs, NoModalityError, Note
from .rows import Row, called, givers, named, row_of, told_of

_MOST_SCALE = 32  # of `Settings.scale`, where nobody asks for more
DECODERS = READERS | {"clip": partial(packed, partial(read_clip, several=True))}
AHEAD = 16  # clips that are decoded while the model is at others

ASKER = {"missing_file", "not_regular", "git_lfs_pointer", "bad_region"}  # faults of who names a file, not of it
_UNREAD = 0.5  # share of symbols that the dictionary lacks, from which on it is told
_CLIPPED = 0.01  # share of samples beyond what floats may be, from which on it is told
_FALLBACK = {
    "no_face": "answered from the middle of the picture",
    "several_faces": "answered for that one; cut out another, or name its region behind the file (#xywh=)",
    "clipped": "answered all the same",
    "truncated": "answered from what is there",
}
_WITHOUT = "answered without it"
_CUT = "cut it, or allow more with --max-seconds"  # of messages of `media`, said to who prepares a corpus
_LONG = (
    "cut it, or answer along it with --window 5 --hop 1 --out DIR (in Python: predict_segments, or more max_seconds)"
)
_NO_TOKENIZER = "the checkpoint lacks its tokeniser, as those of earlier versions do; train it once more for texts"


@dataclass
class _Found:
    """Of one clip: items as a data-bin stores them, with their lengths."""

    stored: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


class ClipReader:
    """Makes clips into inputs, each recording decoded in a process of its own within bounds (`media.child`).

    Args:
        state: of the task that trained the model; it says how its data-bin was made.
        limits: shortest and longest input of each modality.
        symbols: ids in front of and behind a text.
        pad_id: of padding.
        max_seconds: the longest clip; as in the training where None.

    Attributes:
        texts: what makes numbers of texts; None where the model reads none, or the state lacks its tokeniser.

    Raises:
        MMFairseqError: the tokeniser is damaged, or clips of the training were so long that a limit is to be given.
        KeyError, TypeError, AttributeError: the state is.
    """

    def __init__(
        self,
        state: Mapping[str, Any],
        limits: Mapping[str, Limits],
        symbols: tuple[int, int],
        pad_id: int,
        max_seconds: float | None = None,
    ) -> None:
        meta = state["meta"]
        self.modalities = [name for name in MODALITIES if name in state["modalities"]]
        self.limits, self.symbols, self.pad_id = dict(limits), symbols, pad_id
        streams = meta["streams"]
        self.dims = {name: streams[name]["dim"] for name in self.modalities if streams[name]["dim"]}
        self.settings = Settings(
            modalities=tuple(self.modalities),
            fps=meta["fps"],
            frame_size=meta["frame_size"],
            faces=meta["faces"],
            max_seconds=meta["settings"]["max_seconds"] if max_seconds is None else max_seconds,
            follow_links=True,
        )
        if max_seconds is None and self.settings.scale > _MOST_SCALE:
            told = f"clips of up to {self.settings.max_seconds:g} s, {meta['fps']:g} pictures a second, as in training"
            raise MMFairseqError(f"{told}, would take too much memory: give --max-seconds, or max_seconds")
        spec, texts = meta["tokenizer"], None
        there = bool(spec) and set(spec["files"]) <= set(state["tokenizer"])
        if there and "text" in self.modalities and "text" not in self.dims:
            texts = TokenIds.from_contents(spec, state["tokenizer"], state["dictionary"])
        self.texts = texts
        bounds = media_bounds.Limits(memory=int(media_bounds.Limits().memory * self.settings.scale))
        self._child = reader(DECODERS, bounds)
        self._items = Items(Path.cwd(), self.settings, (lambda: texts) if texts else None, self.dims, self._child)

    def close(self) -> None:
        """End the process that decodes; a later clip starts another."""
        self._child.close()

    def read(self, clip: Clip, without: Collection[str] = (), *, strict: bool = False) -> Inputs:
        """Decode and preprocess one clip.

        Args:
            clip: what there is of it.
            without: modalities that are neither decoded nor given to the model.
            strict: whether each recording, or features, must be of use: else what cannot be used is left out with a
                note, as in training, as long as anything is left. Words that the model does not read are noted.

        Raises:
            NoModalityError: nothing of it is left that the model reads; or, if strict, nothing of a file or array.
            MMFairseqError: a file that is named is not there, or an array is of another form.
        """
        return next(self.read_all([clip], without, strict=strict))

    def read_all(
        self,
        clips: Iterable[Clip],
        without: Collection[str] = (),
        failed: Callable[[Clip, MMFairseqError], object] | None = None,
        *,
        strict: bool = False,
    ) -> Iterator[Inputs]:
        """As `read`, for many; recordings are decoded ahead of who takes the results.

        Args:
            clips: what there is.
            without: see `read`.
            failed: is told of a clip that `read` raises an error for, which is left out; None raises it.
            strict: see `read`.
        """
        if unknown := sorted(set(without) - set(MODALITIES)):
            raise MMFairseqError(f"modality {unknown[0]!r}: known are {', '.join(MODALITIES)}")
        wanted = [name for name in self.modalities if name not in without]
        if not wanted:
            raise MMFairseqError(f"no modality is left: the model reads {', '.join(self.modalities)}")
        clips = iter(clips)
        while group := list(islice(clips, AHEAD)):
            with ExitStack() as stack:
                rows = [_tried(clip, stack) for clip in group]
                good = self._items.ahead([row for row in rows if isinstance(row, Row)], wanted)
                for clip, row in zip(group, rows, strict=True):
                    try:
                        if not isinstance(row, Row):
                            raise row
                        next(good)  # it is ahead from here on
                        inputs = self._inputs(clip, row, wanted, strict)
                    except MMFairseqError as error:
                        if failed is None:
                            raise
                        failed(clip, error)
                    else:
                        yield inputs

    def _inputs(self, clip: Clip, row: Row, wanted: Sequence[str], strict: bool) -> Inputs:
        found = _Found()
        for name in wanted:
            if (make := self._maker(name, clip, row)) is None:
                continue
            try:
                found.stored[name] = make()
            except MediaError as error:
                message = told_of(clip, row, str(error)).replace(_CUT, _LONG)
                if error.code in ASKER:
                    raise MMFairseqError(f"{called(clip)}{message}") from error
                instead = _FALLBACK.get(error.code, _WITHOUT) if error.kept else _WITHOUT
                found.notes.append(Note(name, error.code, f"{message}; {instead}"))
                if error.kept:
                    found.stored[name] = error.kept
        items = {name: item for name in found.stored if (item := self._item(name, found)) is not None}
        if not items:
            told = _faults(found.notes) or f"nothing is given of {', '.join(wanted)}, which the model reads"
            if not found.notes and clip.audio is not None and clip.video is None:
                told += "; what is given is taken as sound, without pictures"
            elif not found.notes and clip.features is not None and not self.dims:
                told += "; features are given, and the model was trained on recordings and words"
            raise NoModalityError(f"{called(clip)}no modality is left: {told}", _codes(found.notes))
        if strict:
            self._check_use(clip, wanted, items, found.notes)
            if clip.text and clip.text.strip() and "text" not in self.modalities:
                told = f"words are not read by a model of {', '.join(self.modalities)}; answered without them"
                found.notes.append(Note("text", "not_read", told))
        self._tell(items, clip, found)
        return Inputs(clip.id, items, tuple(found.notes), self._seconds(found), clip.text or "")

    def _check_use(self, clip: Clip, wanted: Sequence[str], items: Collection[str], notes: Sequence[Note]) -> None:
        """Whether something comes of each file or array, unless all that would is withheld.

        Raises:
            NoModalityError: names the one that nothing comes of.
        """
        for source, names in givers(clip, self.modalities, self.dims).items():
            if names & {*items} or (names and not names & {*wanted}):
                continue
            its = [note for note in notes if note.modality in names]
            told, file = _faults(its), named(clip, source)
            if not told:
                told = "" if file == clip.id else f"{file}: "
                told += "its sound is replaced, and " if source == "video" and clip.audio is not None else ""
                told += f"nothing in it is of use to a model of {', '.join(self.modalities)}"
            told = told.replace("; replace it", "")
            left = f"leave {'it' if file == clip.id else file} out to be answered from {', '.join(items)}"
            raise NoModalityError(f"{called(clip)}{told}; {left}", _codes(its) or {source: "not_read"})

    def _maker(self, name: str, clip: Clip, row: Row) -> Any:
        """What gives a stored item and its length; None where nothing is given of the modality."""
        if name in clip.decoded:
            return partial(_given, clip.decoded[name])
        if name in self.dims:
            if isinstance(clip.features, Mapping):
                return partial(self._features, name, clip.features[name]) if name in clip.features else None
            return partial(self._items.make, name, row) if row.features else None
        if name == "text" and clip.text and self.texts is None:
            return partial(_given, MediaError("no_tokenizer", _NO_TOKENIZER))
        if name == "text":
            return partial(self._items.make, name, row) if clip.text and clip.text.strip() else None
        if name == "audio" and isinstance(clip.audio, np.ndarray):
            return partial(self._samples, clip)
        if name == "video" and isinstance(clip.video, np.ndarray):
            return partial(self._pictures, clip)
        return partial(self._items.make, name, row) if row.video or (name == "audio" and row.audio) else None

    def _features(self, name: str, x: np.ndarray) -> tuple[np.ndarray, int]:
        if x.ndim != 2 or x.shape[1] != self.dims[name] or not np.isfinite(x).all():
            raise MediaError(
                "other_width", f"features of shape {x.shape}; (T, {self.dims[name]}) finite numbers are read"
            )
        return x.astype(np.float32), len(x)

    def _samples(self, clip: Clip) -> tuple[np.ndarray, int]:
        samples, rate = clip.audio, clip.sampling_rate
        assert isinstance(samples, np.ndarray)
        if samples.ndim != 1 or not (samples.dtype == np.int16 or samples.dtype.kind == "f"):
            told = f"an array of {samples.dtype} and shape {samples.shape}"
            raise MMFairseqError(f"{called(clip)}audio: {told}; expected (T), int16 or floats in [-1, 1]")
        if rate is None:
            raise MMFairseqError(f"{called(clip)}audio: an array says nothing of its rate; give sampling_rate, too")
        first, last = _span(clip, len(samples) / rate, "audio")
        self._check_length(last - first)
        samples = samples[round(first * rate) : round(last * rate)]
        pcm = to_pcm(samples, rate, SAMPLE_RATE)
        if len(pcm) < MIN_SAMPLES:
            told = f"{len(pcm)} samples at {SAMPLE_RATE} Hz; at least {MIN_SAMPLES} are needed"
            raise MediaError("too_short", told)
        if samples.dtype != np.int16 and (share := float(np.mean(np.abs(samples) > 1))) > _CLIPPED:
            told = f"{share:.0%} of the samples lie beyond [-1, 1] and were cut off there"
            raise MediaError("clipped", f"{told}; divide by 32768 what was of 16 bits", (pcm, len(pcm)))
        return pcm, len(pcm)

    def _pictures(self, clip: Clip) -> tuple[np.ndarray, int]:
        frames, settings = clip.video, self.settings
        assert isinstance(frames, np.ndarray)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            told = f"an array of {frames.dtype} and shape {frames.shape}"
            raise MMFairseqError(f"{called(clip)}video: {told}; expected (T, H, W, 3), uint8")
        if clip.fps is None:
            raise MMFairseqError(f"{called(clip)}video: an array says nothing of its time; give fps, too")
        if not frames.size or frames.shape[1] * frames.shape[2] > MAX_PIXELS:
            raise MediaError("empty" if not frames.size else "too_large", f"pictures of shape {frames.shape}")
        first, last = _span(clip, len(frames) / clip.fps, "video")
        self._check_length(last - first)
        # As of a file: of a span so many as come nearest to it, to the end all that are shown before it
        count = (last - first) * settings.fps
        count = max(1, math.ceil(count - 0.5) if clip.end is None else round(count))
        half = 0.5 / settings.fps if clip.end is None else min(0.5 / settings.fps, 0.5 * (last - first))
        shown, wanted = np.arange(len(frames)) / clip.fps, first + half + np.arange(count) / settings.fps
        chosen = np.searchsorted(shown, wanted, side="right") - 1
        shape = settings.fps, settings.frame_size, settings.faces, "pictures", True
        return packed(to_clip, [frames[at] for at in chosen], *shape), count

    def _check_length(self, seconds: float) -> None:
        if seconds > self.settings.max_seconds:
            raise MediaError("too_long", f"longer than {self.settings.max_seconds:g} s; {_LONG}")

    def _item(self, name: str, found: _Found) -> np.ndarray | None:
        """The input, cut at the model's limit; None, and told, where it is too short."""
        item, length = found.stored[name]
        limits = self.limits.get(name, Limits())
        dim = self.dims.get(name, 0)
        before = input_lengths(name, np.array([length]), dim)
        usable = int(limits.usable(before)[0])
        if not usable:
            told = f"{self._told(name, before[0])}; the model needs {self._told(name, limits.shortest)}; {_WITHOUT}"
            found.notes.append(Note(name, "too_short", told))
            return None
        if usable < before[0]:
            told = f"{self._told(name, before[0])}; the model takes {self._told(name, usable)}: the end is cut off"
            found.notes.append(Note(name, "cut", told))
        return read_item(name, item, usable, *self.symbols)

    def _told(self, name: str, length: int) -> str:
        """A length in words."""
        rate = {"audio": SAMPLE_RATE, "video": self.settings.fps}.get(name)
        if name in self.dims or rate is None:
            return f"{length} {'frames' if name in self.dims else 'tokens'}"
        return f"{round(length / rate, 3):.9g} s of {name}"

    def _tell(self, items: Mapping[str, np.ndarray], clip: Clip, found: _Found) -> None:
        if "text" in items and "text" not in self.dims:
            ids, text = found.stored["text"][0], clip.text or ""
            share = float(np.mean(ids == UNKNOWN))
            if share >= _UNREAD or len(ids) > len(text) + 1:  # bytes of letters, where a tokeniser falls back on them
                told = f"{share:.0%} of the symbols of {text[:60]!r} were never seen in training"
                if share < _UNREAD:
                    told = f"{text[:60]!r} is read as {len(ids)} pieces of letters, of which training saw no words"
                found.notes.append(Note("text", "unknown_symbols", f"{told}: another language or script?"))
        if "audio" in items and "audio" not in self.dims and not items["audio"].any():
            found.notes.append(Note("audio", "silent", "silence from beginning to end; answered all the same"))

    def _seconds(self, found: _Found) -> float | None:
        if "audio" in found.stored and "audio" not in self.dims:
            return found.stored["audio"][1] / SAMPLE_RATE
        if "video" in found.stored and "video" not in self.dims:
            return len(frame_sizes(found.stored["video"][0])) / self.settings.fps
        return None

    def collate(self, inputs: Sequence[Inputs]) -> dict[str, dict[str, torch.Tensor]]:
        """A padded batch as the model takes it; a modality that is missing is a row of padding."""
        x, masks = {}, {}
        for name in self.modalities:
            empty = np.zeros((0, self.dims[name]), np.float32) if name in self.dims else EMPTY[name]
            value = self.pad_id if name == "text" and empty.ndim == 1 else 0
            x[name], masks[name] = pad([each.items.get(name) for each in inputs], value, empty)
        return {"inputs": x, "padding_masks": masks}


def _faults(notes: Iterable[Note]) -> str:
    """What is wrong, in words."""
    return "; ".join(f"{note.modality}: {note.message.removesuffix(_WITHOUT).rstrip('; ')}" for note in notes)


def _codes(notes: Iterable[Note]) -> dict[str, str]:
    return {note.modality: note.code for note in notes}


def _span(clip: Clip, seconds: float, name: str) -> tuple[float, float]:
    """Beginning and end, in seconds, of what is wanted of an array."""
    first = clip.start or 0.0
    check_span(Path(name), first, clip.end, seconds)
    return first, seconds if clip.end is None else clip.end


def _tried(clip: Clip, stack: ExitStack) -> Row | MMFairseqError:
    try:
        return row_of(clip, stack)
    except MMFairseqError as error:
        return error


def _given(found: tuple[np.ndarray, int] | MediaError) -> tuple[np.ndarray, int]:
    if isinstance(found, MediaError):
        raise found
    return found
