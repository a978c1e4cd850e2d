"""CMU-MOSEI (Zadeh et al. 2018, https://aclanthology.org/P18-1208): segments of 3,228 videos, sentiment and emotions.

Three forms are read; those of MMSA and of feature files, which have the sentiment alone, are told in `_cmu`. The raw
release:

- `Transcript/Segmented/Combined/<video>.txt`, a segment a line: `video___clip___start___end___sentence`, seconds; a
  sentence may hold `___` itself;
- `Videos/Full/Combined/<video>.mp4`, cut by those times, else `Videos/Segmented/Combined/<video>_<clip>.mp4`; sound of
  `Audio/Full/WAV_16000/<video>.wav` where that folder is, else that of the mp4;
- `CMU_MOSEI_Labels.csd`: sentiment -3 to 3, and happy, sad, anger, surprise, disgust and fear, each 0 to 3. A label
  belongs to the segment of the same times;
- `cmu_mosei_std_folds.py` of the CMU-MultimodalSDK: the standard folds, lists of videos.

An emotion is there where its intensity is above `--emotion-threshold`, 0 as the SDK's page has it; several may be, or
none. Compared are the sizes of MulT's and MMSA's files, 16326 / 1871 / 4659. The literature has other ones too
(16265 / 1869 / 4643), as segments without features were dropped: the raw release may differ by a few.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MMFairseqError, named
from ..targets import Target
from . import _cmu
from ._cmu_clips import RANGE, Clip, check_range, recordings
from ._cmu_folds import read_folds
from .base import CORPORA, Corpus, ParsedCorpus, one_line, read_text
from .csd import Segment, read_csd
from .features import SIZES

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
INTENSITY = (0.0, 3.0)
TRANSCRIPTS = "Transcript/Segmented/Combined"
LABELS, SEQUENCE = "CMU_MOSEI_Labels.csd", "All Labels"
FOLDS = "cmu_mosei_std_folds.py"
PICTURES = ("Videos/Full/Combined/VIDEO.mp4", "Videos/Segmented/Combined/VIDEO_CLIP.mp4")
SOUNDS = ("Audio/Full/WAV_16000/VIDEO.wav",)
DELIMITER = "___"
TOLERANCE = 0.01  # seconds between the times of a label and of its sentence


@dataclass(frozen=True)
class Sentence:
    """A segment of a transcript."""

    line: int
    clip: str
    start: float
    end: float
    text: str


@CORPORA.register("cmu_mosei")
class CmuMosei(Corpus):
    """The parser; see the module for the forms."""

    help = "CMU-MOSEI: sentiment and six emotions of videos; the raw release, the form of MMSA, or a feature file"
    raw = "the raw release (with Transcript and Videos), the folder with label.csv and Raw, or a feature file"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        _cmu.add_arguments(parser, LABELS)
        parser.add_argument(
            "--folds",
            type=Path,
            metavar="FILE",
            help=f"raw form: the standard folds; {FOLDS} of the SDK, JSON, or a folder of text lists; "
            f"relative to RAW (default: {FOLDS})",
        )
        parser.add_argument(
            "--emotion-threshold",
            type=float,
            metavar="X",
            help="raw form: an emotion is there where its intensity, 0 to 3, is above X (default: 0)",
        )
        parser.add_argument(
            "--intensities",
            action="store_true",
            help="raw form: the intensities of the six emotions as further targets, regressions",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        own = ("folds", "emotion_threshold", "intensities")
        return _cmu.parse(raw, args, TRANSCRIPTS, own, SIZES["MOSEI"], read_raw)


def read_raw(raw: Path, args: argparse.Namespace, prepared: ParsedCorpus) -> tuple[list[Clip], list[Target]]:
    """The clips of the raw release and their targets; what is left out is told in `prepared`."""
    base = prepared.manifest.root
    targets = [Target("sentiment", "regression"), Target("emotions", "multilabel", EMOTIONS)]
    targets += [Target(name, "regression") for name in EMOTIONS if args.intensities]
    threshold = args.emotion_threshold or 0.0
    if not INTENSITY[0] <= threshold < INTENSITY[1]:
        raise MMFairseqError(f"--emotion-threshold {threshold:g}: must be at least 0 and below {INTENSITY[1]:g}")
    labels = _cmu.find_labels(base, raw, args.labels, LABELS)
    folds = read_folds(_folds_file(base, raw, args.folds))
    videos = read_csd(labels, SEQUENCE, ("sentiment", *EMOTIONS))
    files = {file.stem: file for file in sorted((base / TRANSCRIPTS).glob("[!.]*.txt"))}
    clips, lost, outside, unlabelled = [], [], 0, []
    for video, segments in videos.items():
        if video not in folds:
            outside += len(segments)
            continue
        sentences = read_transcript(files[video]) if video in files else []
        pairs = match(segments, sentences)
        taken = {sentence.clip for _, sentence in pairs if sentence}
        unlabelled += [f"{video}_{sentence.clip}" for sentence in sentences if sentence.clip not in taken]
        for segment, sentence in pairs:
            if not sentence:
                lost.append(f"{video} from {segment.start:g} s")
                continue
            clips.append(_clip(base, video, folds[video], segment, sentence, threshold, args.intensities))
    _cmu.tell_lost(labels, lost, args.accept_missing, prepared)
    prepared.excluded |= Counter({"in no fold": outside, "no label": len(unlabelled)})
    if outside:
        prepared.notes.append(f"left out, {outside} labelled segments of videos that are in no fold")
    if unlabelled:
        prepared.notes.append(f"left out, {len(unlabelled)} segments without a label: {named(unlabelled)}")
    if mute := sorted(files.keys() - videos.keys()):
        prepared.notes.append(f"left out, {len(mute)} videos with a transcript but no labels: {named(mute)}")
    if silent := sorted(folds.keys() - videos.keys()):
        prepared.notes.append(f"{len(silent)} videos of the folds have no labels: {named(silent)}")
    return clips, targets


def _folds_file(base: Path, raw: Path, asked: Path | None) -> Path:
    if asked:
        return raw / asked
    found = next((folder / FOLDS for folder in (raw, base) if (folder / FOLDS).is_file()), None)
    if not found:
        raise MMFairseqError(
            f"{raw}: no {FOLDS}, the standard folds (mmsdk/mmdatasdk/dataset/standard_datasets/CMU_MOSEI of the "
            "CMU-MultimodalSDK); put it there or name it: --folds FILE"
        )
    return found


def _clip(
    base: Path, video: str, split: str, segment: Segment, sentence: Sentence, threshold: float, intensities: bool
) -> Clip:
    sentiment = check_range(segment.place, "sentiment", segment.values["sentiment"], RANGE)
    strengths = {name: check_range(segment.place, name, segment.values[name], INTENSITY) for name in EMOTIONS}
    return Clip(
        f"{base / TRANSCRIPTS / video}.txt:{sentence.line}",
        sentence.line,
        video,
        sentence.clip,
        split,
        sentence.text,
        *recordings(base, SOUNDS, PICTURES, video, sentence.clip),
        {"sentiment": sentiment, **(strengths if intensities else {})},
        {"emotions": [name for name in EMOTIONS if strengths[name] > threshold]},
        sentence.start,
        sentence.end,
    )


def read_transcript(file: Path) -> list[Sentence]:
    """The segments of a video.

    Raises:
        MMFairseqError: `file:line`: not the form, another video, times that are none, or a clip that stands twice.
    """
    sentences: dict[str, Sentence] = {}
    for line, content in enumerate(read_text(file).split("\n"), start=1):
        if not content.strip():
            continue
        # The name of a video may hold underscores at its end, the sentence anywhere.
        head, found, rest = content.strip().partition(f"{file.stem}{DELIMITER}")
        parts = rest.split(DELIMITER, 3)
        times = [_seconds(part) for part in parts[1:3]]
        if head or not found or len(parts) != 4 or not parts[0].strip() or None in times:
            raise MMFairseqError(
                f"{file}:{line}: expected {DELIMITER.join([file.stem, 'CLIP', 'START', 'END', 'SENTENCE'])} with times "
                f"in seconds, found {content.strip()[:80]!r}"
            )
        clip = parts[0].strip()
        if clip in sentences:
            raise MMFairseqError(f"{file}:{line}: clip {clip} stands already in line {sentences[clip].line}")
        sentences[clip] = Sentence(line, clip, times[0], times[1], one_line(parts[3]))  # type: ignore[arg-type]
    return list(sentences.values())


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def match(segments: Sequence[Segment], sentences: Sequence[Sentence]) -> list[tuple[Segment, Sentence | None]]:
    """Each label with the sentence of the same times, None where there is none; a sentence belongs to one label."""
    left = list(sentences)
    pairs: list[tuple[Segment, Sentence | None]] = []
    for segment in segments:
        distances = [max(abs(each.start - segment.start), abs(each.end - segment.end)) for each in left]
        nearest = min(range(len(left)), key=distances.__getitem__, default=None)
        fits = nearest is not None and distances[nearest] <= TOLERANCE
        pairs.append((segment, left.pop(nearest) if fits and nearest is not None else None))
    return pairs
