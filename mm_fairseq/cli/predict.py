"""Answer for clips with a trained model: labels and scores of each, or along a long recording (--window).

A clip is a video, a file of sound, or an .npz of features; words are given with --text. What a modality lacks is told,
and the others are answered from. The exit status is 1 where some of several clips could not be answered.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, count, islice
from pathlib import Path
from typing import IO

from tqdm import tqdm

from ..atomic import open_atomic, write_atomic
from ..errors import MMFairseqError
from ..inference import Answer, Clip, EmotionModel, Inputs
from ..inference.checks import MOST_SECONDS, check_number
from ..inference.clips import ODD, medium_of
from ..inference.model import BATCH, device_of
from ..inference.recording import HOP
from ..inference.sources import FEATURES, Sources, clip_of
from ..manifest import MODALITIES, Manifest, Medium
from ..tables import Table, to_json
from . import INTERRUPTED, clean
from ._tables import counted, show

INTERMIXED = True
_OF_WINDOWS = ("hop", "out", "subtitles", "overwrite")
_NAME = 200  # bytes; systems take 255, of which suffixes are some
_NOT_OF_WINDOWS = ("text", "manifest", "split", "json", "output", "top_k", "max_seconds", "explain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, number = parser.add_argument, float
    add("clip", nargs="*", metavar="CLIP", help="video, file of sound, or .npz of features")
    add("--checkpoint", required=True, metavar="CKPT", help="checkpoint, folder of a training, or of save_pretrained")
    add("--text", metavar="WORDS", help="what is said in the one clip")
    add("--audio", metavar="FILE", help="sound of the one clip, in place of its own or without pictures")
    for name in MODALITIES:
        add(f"--no-{name}", action="store_true", help=f"answer without {name}")
    add("--start", type=number, metavar="S", help="beginning of the span, in seconds")
    add("--end", type=number, metavar="S", help="end of the span, in seconds")
    add("--top-k", type=int, metavar="K", help="so many labels of each target (default: all)")
    add("--json", action="store_true", help="one line of JSON a clip")
    add("--output", type=Path, metavar="FILE", help="write these lines to a file")
    add("--manifest", type=Path, metavar="TSV", help="answer for a manifest, or the folder of a prepared corpus")
    add("--split", help="of the manifest: its own, or as PROTOCOL/FOLD/test (default: all)")
    add("--batch-size", type=int, default=BATCH, metavar="N", help="clips in one pass (default: %(default)s)")
    add("--device", default="cpu", help="cpu or cuda:0 (default: %(default)s)")
    add("--max-seconds", type=number, metavar="N", help="longest clip (default: as in the training)")
    add("--explain", type=Path, metavar="DIR", help="also write what each answer rests on, as JSON and a picture")
    windows = parser.add_argument_group("a long recording")
    add = windows.add_argument
    add("--window", type=number, metavar="S", help="answer for each window of so many seconds")
    add("--hop", type=number, metavar="S", help=f"seconds from one window to the next (default: {HOP:g})")
    add("--out", type=Path, metavar="DIR", help="folder for segments.json, .csv, .vtt and timeline.png")
    add("--overwrite", action="store_true", help="replace the files that an earlier run wrote to this folder")
    add("--subtitles", type=Path, metavar="FILE", help="WebVTT or SubRip: the words and their times")


def run(args: argparse.Namespace) -> int:
    _check(args)
    with EmotionModel.from_pretrained(args.checkpoint, device=args.device, max_seconds=args.max_seconds) as model:
        without = [name for name in MODALITIES if getattr(args, f"no_{name}")]
        if not (args.clip or args.audio or args.manifest or (args.text or "").strip()):
            raise MMFairseqError(
                f"nothing to answer for: give a CLIP, --audio, --text or --manifest; this model reads "
                f"{', '.join(model.modalities)}"
            )
        if args.window is not None:
            from ._segments import run as run_windows  # matplotlib takes a while to import

            return run_windows(args, model, without)
        with Sources() as sources:
            clips, count = _clips(args, sources)
            try:
                return _Run(args, model, without, count).run(clips)
            except KeyboardInterrupt:
                told = f"; {args.output} is as it was" if args.output else ""
                sys.stderr.write(clean(f"mm-fairseq predict: interrupted{told}") + "\n")
                return INTERRUPTED


def _check(args: argparse.Namespace) -> None:
    """Raises MMFairseqError for options that contradict each other, or would have no effect."""
    many = args.manifest is not None or len(args.clip) > 1
    for name in _OF_WINDOWS if args.window is None else ():
        if getattr(args, name) not in (None, False):
            raise MMFairseqError(f"--{name} is of --window, which is not given")
    for name in _NOT_OF_WINDOWS if args.window is not None else ():
        if getattr(args, name) not in (None, False):
            told = "words have no times: give them as --subtitles FILE" if name == "text" else "leave it out"
            raise MMFairseqError(f"--{name.replace('_', '-')} does not go with --window: {told}")
    for name in ("window", "hop"):
        if (value := getattr(args, name)) is not None:
            check_number(f"--{name}", value)
    if args.window is not None and args.hop is None and args.window < HOP:
        raise MMFairseqError(f"--window {args.window:g}: the hop is {HOP:g} s, which is more; give --hop, too")
    if args.window is not None and args.out is None:
        raise MMFairseqError("--window needs --out DIR, the folder to write segments to")
    if args.window is not None and len(args.clip) > 1:
        raise MMFairseqError(f"--window is for one recording, not {len(args.clip)}")
    for name in ("text", "audio"):
        if many and getattr(args, name) is not None:
            raise MMFairseqError(f"--{name} is of one clip; several have theirs in a manifest (--manifest)")
    if args.manifest is not None and (args.clip or args.start is not None or args.end is not None):
        raise MMFairseqError("--manifest says itself which clips there are and where they begin: leave out the others")
    if (args.start, args.end) != (None, None) and not args.audio and all(path.endswith(FEATURES) for path in args.clip):
        raise MMFairseqError("--start and --end are of a recording: give it as CLIP or --audio, or leave them out")
    if args.start is not None or args.end is not None:
        for path in filter(None, [*args.clip, args.audio]):
            if (medium := medium_of(path)) != Medium(medium.path, region=medium.region):
                raise MMFairseqError(f"{path}: a span behind its name, and --start or --end: leave one of them out")
    if args.split is not None and args.manifest is None:
        raise MMFairseqError("--split is of --manifest, which is not given")
    for name in ("batch_size", "top_k"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise MMFairseqError(f"--{name.replace('_', '-')} {value}: at least 1")
    if args.max_seconds is not None:
        check_number("--max-seconds", args.max_seconds, MOST_SECONDS)
    start, end = args.start or 0.0, args.end
    if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
        raise MMFairseqError(f"from {start:g} s to {'the end' if end is None else f'{end:g} s'}: no span of a clip")
    if args.output is not None and not args.output.parent.is_dir():
        raise MMFairseqError(f"--output {args.output}: there is no folder {args.output.parent}")
    device_of(args.device)


def _clips(args: argparse.Namespace, sources: Sources) -> tuple[Iterable[Clip], int]:
    """Clips, each of which is looked at when it is its turn, and how many they are."""
    if args.manifest is not None:
        return _rows(args.manifest, args.split)
    further = {"start": args.start, "end": args.end, "text": args.text, "audio": args.audio}
    if not args.clip:
        return [Clip(args.audio or "", **further)], 1
    return (sources.clip(path, **further) for path in args.clip), len(args.clip)


def _rows(path: Path, split: str | None) -> tuple[Iterable[Clip], int]:
    path = path / "manifest.tsv" if path.is_dir() else path
    try:
        manifest, lists = Manifest.read(path), path.parent / "splits"
    except MMFairseqError as error:
        if not str(error).startswith(f"{path}:1: "):
            raise
        told = "; `mm-fairseq prepare table` makes a manifest of a table of another form"
        raise MMFairseqError(f"{error}{told}") from error
    rows = manifest.utterances
    if split is not None and (lists / split).is_file():
        ids = set((lists / split).read_text(encoding="utf-8").split("\n"))
        rows = [row for row in rows if row.id in ids]
    elif split is not None:
        rows = [row for row in rows if row.split == split]
    if not rows:
        known = {row.split for row in manifest.utterances} - {""}
        known |= {str(file.relative_to(lists)) for file in lists.glob("*/*/*")}
        told = f"of the split {split!r}; there are {', '.join(sorted(known))}" if split is not None else "in it"
        raise MMFairseqError(f"{path}: no utterances {told}")
    return (clip_of(row, manifest.root) for row in rows), len(rows)


class _Run:
    """Answers for clips and says so."""

    def __init__(self, args: argparse.Namespace, model: EmotionModel, without: Sequence[str], clips: int) -> None:
        self.args, self.model, self.without = args, model, without
        self.many = clips > 1 or args.manifest is not None
        self.bar = tqdm(total=clips, unit="clip", disable=None if self.many else True)
        self.clips, self.unanswered, self.unexplained = clips, 0, 0
        self.rows: list[list[str]] = []
        self.notes: list[str] = []

    def run(self, clips: Iterable[Clip]) -> int:
        """The exit status."""
        with ExitStack() as stack:
            stack.enter_context(self.bar)
            file = stack.enter_context(open_atomic(self.args.output)) if self.args.output else None
            explained = _Explained(self.args.explain) if self.args.explain else None
            for inputs, answer in self._answers(clips):
                self._say(answer, file)
                if explained is not None:
                    self._explain(explained, inputs)
        if self.rows:
            names = list(self.model.kinds)
            show(
                Table(counted(len(self.rows), "clip"), ["clip", *names, "answered from"], self.rows, numeric=False),
                *self.notes,
            )
        for path in filter(None, (self.args.explain, self.args.output)):
            sys.stderr.write(f"written: {path}\n")
        for number, what in ((self.unanswered, "answered"), (self.unexplained, "explained")):
            if number:
                sys.stderr.write(f"mm-fairseq predict: {number} of {counted(self.clips, 'clip')} could not be {what}\n")
        return int(self.unanswered + self.unexplained > 0)

    def _answers(self, clips: Iterable[Clip]) -> Iterator[tuple[Inputs, Answer]]:
        failed, strict = self._failed if self.many else None, self.args.manifest is None
        found = self.model.reader.read_all(clips, self.without, failed, strict=strict)
        while batch := list(islice(found, self.args.batch_size)):
            for inputs, answer in self._batch(batch):
                self.bar.update()
                yield inputs, answer

    def _batch(self, batch: Sequence[Inputs]) -> Iterator[tuple[Inputs, Answer]]:
        """Where one of a batch has no answer, the others have theirs one by one."""
        try:
            answers = self.model.answer(batch, self.args.top_k)
        except MMFairseqError as error:
            if not self.many:
                raise
            if len(batch) == 1:
                return self._failed(batch[0], error)
            for each in batch:
                yield from self._batch([each])
        else:
            yield from zip(batch, answers, strict=True)

    def _explain(self, explained: "_Explained", inputs: Inputs) -> None:
        try:
            explained.write(self.model, inputs)
        except MMFairseqError as error:
            if not self.many:
                raise
            self.unexplained += 1
            self._tell(f"{inputs.id}: not explained: {error}")

    def _failed(self, _: Clip | Inputs, error: MMFairseqError) -> None:
        self.unanswered += 1
        self.bar.update()
        self._tell(str(error))

    def _tell(self, error: str) -> None:
        tqdm.write(clean(f"mm-fairseq predict: error: {' '.join(error.split())}"), file=sys.stderr)

    def _say(self, answer: Answer, file: IO[bytes] | None) -> None:
        line = json.dumps(answer.to_json(), ensure_ascii=False, allow_nan=False).encode(errors=ODD) + b"\n"
        if file is not None:
            file.write(line)
        elif self.args.json:
            sys.stdout.write(line.decode())
        elif self.many:
            said = [_said(answer, name, self.args.top_k or 1) for name in answer.targets]
            self.rows.append([*map(clean, [answer.id, *said]), ", ".join(answer.modalities)])
            self.notes += [f"{clean(answer.id)}: {line}" for line in _notes(answer)]
        else:
            seconds = "" if answer.seconds is None else f"; {answer.seconds:.2f} s"
            title = f"{answer.id or 'answer'} ({', '.join(answer.modalities)}{seconds})"
            show(clean(title), *_tables(answer), *_notes(answer))


class _Explained:
    """Writes what each answer rests on, as NAME.json and NAME.png."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, model: EmotionModel, inputs: Inputs) -> None:
        from ..inference.explain import explain
        from ..inference.figures import draw

        found = explain(model, inputs)
        name = self._named(inputs.id)
        write_atomic(self.folder / f"{name}.json", to_json(found.to_json()).encode(errors=ODD))
        draw(found, inputs, self.folder / f"{name}.png")

    def _named(self, clip: str) -> str:
        """A name that is free, also where the system does not tell capitals, and short enough for it."""
        name = re.sub(r"[^\w.-]+", "_", clip).strip("._").encode()[-_NAME:].decode(errors="ignore") or "clip"
        names = chain([name], (f"{name}-{number}" for number in count(2)))
        name = next(each for each in names if each.casefold() not in self._names)
        self._names.add(name.casefold())
        return name


def _tables(answer: Answer) -> Iterator[Table | str]:
    for name, ranked in answer.targets.items():
        chosen = answer.predictions[name]
        if not isinstance(chosen, str | list):
            yield clean(f"{name}: {_number(chosen)}")
            continue
        rows = [[clean(each["label"]), _number(each["score"])] for each in ranked]
        if isinstance(chosen, list):
            rows = [[*row, "yes" if each["label"] in chosen else ""] for row, each in zip(rows, ranked, strict=True)]
        yield Table(clean(name), ["label", "score", "chosen"][: len(rows[0])], rows)


def _said(answer: Answer, name: str, top_k: int) -> str:
    chosen = answer.predictions[name]
    if not isinstance(chosen, str | list):
        return _number(chosen)
    if isinstance(chosen, list) and top_k == 1:
        return ", ".join(chosen) or "none"
    return ", ".join(f"{each['label']} {_number(each['score'])}" for each in answer.targets[name][:top_k])


def _notes(answer: Answer) -> list[str]:
    return [clean(f"note: {note.modality}: {note.message}") for note in answer.notes]


def _number(value: float) -> str:
    return f"{value:.3f}"
