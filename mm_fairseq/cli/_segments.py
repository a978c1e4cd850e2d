"""`mm-fairseq predict --window`: a long recording to files of segments."""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import __version__
from ..atomic import locked
from ..errors import MMFairseqError
from ..inference import EmotionModel
from ..inference.checks import CONFIG, WEIGHTS
from ..inference.recording import HOP, Recording
from ..inference.segments import FILES, SegmentFiles, check_free
from ..inference.subtitles import read_subtitles
from ..inference.windows import segments
from . import INTERRUPTED, clean
from ._tables import counted, show


def run(args: argparse.Namespace, model: EmotionModel, without: Sequence[str]) -> int:
    """Answer for what is missing, then write all files; 1 where not a single window could be answered."""
    if not args.overwrite:
        check_free(args.out)
    video, audio = (args.clip or [None])[0], args.audio
    hop = HOP if args.hop is None else args.hop
    cues = read_subtitles(args.subtitles) if args.subtitles else []
    if cues and ("text" not in model.modalities or "text" in without):
        raise MMFairseqError(f"--subtitles {args.subtitles}: the model gets no words")
    about = {
        "format": 1,
        "version": __version__,
        "checkpoint": _sum(*_model_files(model)),
        "recording": [_stamp(path) for path in (video, audio)],
        "subtitles": _sum(args.subtitles) if args.subtitles else None,
        "window": args.window,
        "hop": hop,
        "span": [args.start, args.end],
        "without": list(without),
    }
    span: dict[str, Any] = {"start": args.start, "end": args.end}
    with Recording(model.reader, video, audio, args.window, hop, **span, without=without) as recording:
        args.out.mkdir(parents=True, exist_ok=True)
        with locked(args.out), SegmentFiles(args.out, about, model.kinds, args.batch_size) as files:
            total = len(recording.windows)
            of_all = f"of {counted(total, 'window')} are"
            if files.changed:
                told = f"{args.out}: begun anew; other than in the interrupted run: {files.changed}"
                sys.stderr.write(f"{clean(told)}\n")
            elif files.done:
                sys.stderr.write(f"{args.out}: {files.done} {of_all} there already\n")
            try:
                with tqdm(total=total, initial=files.done, unit="window", disable=None) as bar:
                    for segment in segments(model, recording, cues, args.batch_size, files.done, without):
                        files.add(segment)
                        bar.update()
            except KeyboardInterrupt:
                kept = files.done - files.done % args.batch_size
                told = f"interrupted; {kept} {of_all} kept: the same command goes on from there"
                sys.stderr.write(f"\nmm-fairseq predict: {told}\n")
                return INTERRUPTED
            counts = files.finish(os.path.basename(video or audio))
    show(*_summary(recording, counts, model, without, args.out))
    return int(counts["unanswered"] == counts["segments"])


def _summary(
    recording: Recording, counts: dict[str, int], model: EmotionModel, without: Sequence[str], out: Path
) -> list[str]:
    counts = dict(counts)
    windows, silent = counts.pop("segments"), counts.pop("unanswered")
    lines = [f"{counted(windows, 'window')} from {recording.windows.first:g} s to {recording.windows.last:g} s"]
    lines += [f"answered without {name}: {clean(str(fault))}" for name, fault in sorted(recording.faults.items())]
    missing = {"audio", "video"} & {*model.modalities} - {*without, *recording.ends, *recording.faults}
    lines += [f"answered without {name}, which the recording has not" for name in sorted(missing)]
    if silent:
        lines.append(f"{silent} of them could not be answered: segments.csv says why")
    lines += [f"note of {counted(count, 'window')}: {name.replace('_', ' ')}" for name, count in counts.items()]
    return [*lines, clean(f"written: {', '.join(str(out / name) for name in FILES)}")]


def _stamp(path: str | None) -> list[Any] | None:
    """Of a file, to tell whether it is the same."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise MMFairseqError(f"{path}: no such file") from None
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]


def _model_files(model: EmotionModel) -> list[Path]:
    """What it was loaded from, of a folder that may hold other files, too."""
    if not model.source.is_dir():
        return [model.source]
    return [model.source / name for name in (CONFIG, WEIGHTS, *sorted(model.state["tokenizer"]))]


def _sum(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
