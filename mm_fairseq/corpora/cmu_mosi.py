"""CMU-MOSI (Zadeh et al. 2016, https://arxiv.org/abs/1606.06259): 93 film reviews, 2,199 segments, sentiment -3 to 3.

Three forms are read; those of MMSA and of feature files are told in `_cmu`. The raw release:

- `Transcript/Segmented/<video>.annotprocessed`, a segment a line, `1_DELIM_TEXT`;
- `Video/Segmented/<video>_<segment>.mp4`, else `Video/Full/<video>.mp4`, cut by the labels' times; sound from
  `Audio/WAV_16000/Segmented/<video>_<segment>.wav` (else `Full`) where that folder is, else that of the mp4;
- `CMU_MOSI_Opinion_Labels.csd`: row n of a video is its segment n + 1.

The standard folds are the 93 videos in the order of their bytes: the first 52 train, the next 10 are validation, the
last 31 for test, 1284 / 229 / 686 segments. `--folds` names other ones.
"""

import argparse
from collections import Counter
from pathlib import Path

from ..errors import MMFairseqError, named
from ..targets import Target
from . import _cmu
from ._cmu_clips import RANGE, Clip, check_range, recordings
from ._cmu_folds import read_folds
from .base import CORPORA, Corpus, ParsedCorpus, one_line, read_text
from .csd import read_csd
from .features import SIZES

TRANSCRIPTS = "Transcript/Segmented"
LABELS, SEQUENCE = "CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels"
PICTURES = ("Video/Segmented/VIDEO_CLIP.mp4", "Video/Full/VIDEO.mp4")
SOUNDS = ("Audio/WAV_16000/Segmented/VIDEO_CLIP.wav", "Audio/WAV_16000/Full/VIDEO.wav")
LAST = {"train": "W8NXH0Djyww", "valid": "c5xsKMxpXnc"}  # videos that end a fold
DELIMITER = "_DELIM_"


@CORPORA.register("cmu_mosi")
class CmuMosi(Corpus):
    """The parser; see the module for the forms."""

    help = "CMU-MOSI: sentiment of film reviews; the raw release, the form of MMSA, or a feature file"
    raw = "the raw release (with Transcript and Video), the folder with label.csv and Raw, or a feature file"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        _cmu.add_arguments(parser, LABELS)
        parser.add_argument(
            "--folds",
            type=Path,
            metavar="FILE",
            help="raw form: other folds than the standard ones; a .py of the SDK, JSON, or a folder of text lists; "
            "relative to RAW",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        return _cmu.parse(raw, args, TRANSCRIPTS, ("folds",), SIZES["MOSI"], read_raw)


def read_raw(raw: Path, args: argparse.Namespace, prepared: ParsedCorpus) -> tuple[list[Clip], list[Target]]:
    """The clips of the raw release and their target; what is left out is told in `prepared`."""
    base = prepared.manifest.root
    labels = _cmu.find_labels(base, raw, args.labels, LABELS)
    videos = read_csd(labels, SEQUENCE, ("sentiment",))
    folds = read_folds(raw / args.folds) if args.folds else {video: standard_fold(video) for video in videos}
    spoken = {file.stem: read_transcript(file) for file in sorted((base / TRANSCRIPTS).glob("[!.]*.annotprocessed"))}
    clips, lost, outside = [], [], 0
    for video, segments in videos.items():
        if video not in folds:
            outside += len(segments)
            continue
        for segment in segments:
            number = str(segment.number + 1)
            sentiment = check_range(segment.place, "sentiment", segment.values["sentiment"], RANGE)
            if number not in spoken.get(video, {}):
                lost.append(f"{video}_{number}")
                continue
            line, text = spoken[video][number]
            clips.append(
                Clip(
                    f"{base / TRANSCRIPTS / video}.annotprocessed:{line}",
                    line,
                    video,
                    number,
                    folds[video],
                    text,
                    *recordings(base, SOUNDS, PICTURES, video, number),
                    {"sentiment": sentiment},
                    start=segment.start,
                    end=segment.end,
                )
            )
    _cmu.tell_lost(labels, lost, args.accept_missing, prepared)
    kept = {clip.id for clip in clips}
    unlabelled = [
        f"{video}_{number}"
        for video, texts in spoken.items()
        for number in texts
        if (video in folds or video not in videos) and f"{video}_{number}" not in kept
    ]
    prepared.excluded |= Counter({"in no fold": outside, "no label": len(unlabelled)})
    if unlabelled:
        prepared.notes.append(f"left out, {len(unlabelled)} segments without a label: {named(unlabelled)}")
    return clips, [Target("sentiment", "regression")]


def standard_fold(video: str) -> str:
    """Where the standard folds have a video."""
    return "train" if video <= LAST["train"] else "valid" if video <= LAST["valid"] else "test"


def read_transcript(file: Path) -> dict[str, tuple[int, str]]:
    """{segment: (line, text)} of an .annotprocessed.

    Raises:
        MMFairseqError: `file:line`: no number in front, or one that stands twice.
    """
    texts: dict[str, tuple[int, str]] = {}
    for line, content in enumerate(read_text(file).split("\n"), start=1):
        if not content.strip():
            continue
        number, sign, text = content.partition(DELIMITER)
        number = number.strip()
        if not sign or not (number.isascii() and number.isdecimal()):
            raise MMFairseqError(f"{file}:{line}: expected NUMBER{DELIMITER}TEXT, found {content.strip()[:60]!r}")
        number = str(int(number))
        if number in texts:
            raise MMFairseqError(f"{file}:{line}: segment {number} stands already in line {texts[number][0]}")
        texts[number] = line, one_line(text)
    return texts
