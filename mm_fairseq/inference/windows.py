"""Answers along a long recording: one for each window of it."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import MMFairseqError
from .clips import Clip, Inputs, NoModalityError
from .model import BATCH, Answer, EmotionModel
from .reading import ClipReader
from .recording import HOP, WINDOW, Recording
from .subtitles import Cue, Script, read_subtitles

_OWN = {"start", "end", "scores", "modalities", "notes", "note"}
_Found = tuple[float, float, Inputs | NoModalityError]


@dataclass(frozen=True)
class Segment:
    """What the model says of one window.

    Args:
        start: seconds.
        end: seconds.
        answer: None where nothing of the window could be used.
        note: why.
    """

    start: float
    end: float
    answer: Answer | None
    note: str = ""

    def to_json(self, targets: Iterable[str]) -> dict[str, Any]:
        """`start`, `end`, each target with its prediction (None where there is no answer), `scores` of every label.

        Where there is an answer, also what the model got (`modalities`) and fallbacks (`notes`), else `note`.

        Args:
            targets: their names.
        """
        found: dict[str, Any] = {"start": self.start, "end": self.end}
        if self.answer is None:
            return found | dict.fromkeys(targets) | {"scores": {}, "note": self.note}
        ranked = self.answer.targets
        found |= {name: self.answer.predictions[name] for name in targets}
        found["scores"] = {name: {each["label"]: each["score"] for each in ranked[name]} for name in targets}
        return found | {
            "modalities": self.answer.modalities,
            "notes": [note._asdict() for note in self.answer.notes],
        }


def check_targets(names: Iterable[str]) -> None:
    """Whether targets can stand beside what else is told of a segment.

    Raises:
        MMFairseqError: one is called as something else of it.
    """
    if taken := sorted(_OWN & {*names}):
        raise MMFairseqError(f"target {taken[0]!r}: segments have another {taken[0]!r}; so they cannot be made of it")


def predict_segments(
    model: EmotionModel,
    video: str | os.PathLike | None = None,
    audio: str | os.PathLike | None = None,
    window: float = WINDOW,
    hop: float = HOP,
    *,
    subtitles: str | os.PathLike | Iterable[Cue] = (),
    start: float | None = None,
    end: float | None = None,
    without: Collection[str] = (),
    batch_size: int = BATCH,
    reader: ClipReader | None = None,
) -> Iterator[Segment]:
    """Answer for each window of a long recording, in memory that does not grow with its length.

    Args:
        model: that answers.
        video: a file, or one of sound alone; its sound is heard where `audio` is None.
        audio: a file of sound beside it, or instead.
        window: seconds of each, see `recording.Windows`.
        hop: seconds from the beginning of one to that of the next.
        subtitles: a WebVTT or SubRip file, or its cues: a window gets the words of those that overlap it.
        start: where to begin, in seconds.
        end: where to end; None is the end of the recording.
        without: modalities that the model does not get.
        batch_size: windows in one pass of the model.
        reader: of clips; the model's own where None.

    Raises:
        MMFairseqError: the recording has nothing that the model reads, or cannot be read; or see `read_subtitles`.
    """
    cues = read_subtitles(subtitles) if isinstance(subtitles, str | os.PathLike) else subtitles
    reader = reader or model.reader
    with Recording(reader, video, audio, window, hop, start=start, end=end, without=without) as recording:
        yield from segments(model, recording, cues, batch_size, without=without, reader=reader)


def segments(
    model: EmotionModel,
    recording: Recording,
    cues: Iterable[Cue] | Script = (),
    batch_size: int = BATCH,
    first: int = 0,
    without: Collection[str] = (),
    reader: ClipReader | None = None,
) -> Iterator[Segment]:
    """As `predict_segments`, of a recording that is open, from window number `first` on."""
    if batch_size < 1:
        raise MMFairseqError(f"batch_size {batch_size}: at least 1")
    check_targets(model.kinds)
    script = cues if isinstance(cues, Script) else Script(cues)
    if script and not script.between(recording.windows.first, recording.windows.last):
        span = f"{recording.windows.first:g} s and {recording.windows.last:g} s"
        raise MMFairseqError(f"of {len(script)} subtitles none lies between {span}: are they of another recording?")
    found = _inputs(reader or model.reader, recording, script, first, without)
    while batch := list(islice(found, batch_size)):
        whole = [each for _, _, each in batch if isinstance(each, Inputs)]
        answers = iter(model.answer(whole) if whole else [])
        for start, end, each in batch:
            if isinstance(each, Inputs):
                yield Segment(start, end, next(answers))
            else:
                yield Segment(start, end, None, str(each))


def _inputs(
    reader: ClipReader, recording: Recording, script: Script, first: int, without: Collection[str]
) -> Iterator[_Found]:
    for number, decoded in enumerate(recording.cut(first), first):
        start, end = recording.windows[number]
        clip = Clip(f"{start:g}-{end:g} s", text=script.between(start, end), decoded=decoded)
        try:
            yield start, end, reader.read(clip, without)
        except NoModalityError as error:
            yield start, end, error
