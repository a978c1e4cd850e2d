"""`mm-fairseq toy`: write a small synthetic corpus or small checkpoints, in the real formats."""

import argparse
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

from ._tables import show

# Module of `toy`: utterances by default, the least number, and what the help says.
CORPORA = {
    "iemocap": (400, 20, "as IEMOCAP's release: wav, avi, labels, transcripts"),
    "fluent_speech_commands": (600, 124, "as Fluent Speech Commands: csv and wav; action, object, location"),
    "korean_vat": (400, 28, "as the Korean corpus of seven emotions: pickled frames, or recordings"),
    "audioset": (240, 60, "as AudioSet: class folders of mp4 clips, segment csv, ontology"),
    "crema_d": (300, 60, "as CREMA-D: wav and flv of acted emotions, both tables of ratings"),
    "ravdess": (240, 96, "as RAVDESS: mp4 and wav of acted emotions, speech and a few songs"),
    "emobox": (160, 32, "as EmoBox: jsonl of folds, a label map, wav"),
    "kaldi": (160, 32, "as Kaldi's data folders: wav.scp, segments, text, utt2spk, utt2emo"),
    "wav2vec_tsv": (160, 32, "as wav2vec's lists: tsv, with labels and words beside them"),
    "meld": (160, 48, "as MELD.Raw: mp4 clips of dialogues, tables of emotions and sentiments"),
    "cmu_mosei": (240, 18, "as CMU-MOSEI: videos, transcripts, labels and folds, or in the form of MMSA"),
    "cmu_mosi": (240, 18, "as CMU-MOSI: clips, transcripts and labels, or in the form of MMSA"),
    "table": (100, 20, "as somebody's own table: csv and wav"),
    "lists": (100, 20, "as the lists of the original trimodal system: tsv lists, label files, wav, txt, mp4"),
    "features": (300, 30, "as the feature files of MulT and MMSA: pickles of text, audio and vision"),
}
RAW = {"table": "table.csv", "features": "mult_aligned.pkl"}  # below OUT, where it is not OUT itself
PREPARE = {  # options of `mm-fairseq prepare` for these
    **dict.fromkeys(
        ("iemocap", "fluent_speech_commands", "korean_vat", "crema_d", "ravdess", "meld", "cmu_mosei", "cmu_mosi"),
        ("--accept-counts",),
    ),
    "table": ("--columns", "audio=file,text=words,speaker=speaker,split=part", "--target", "emotion=feeling"),
}
FORMS = {
    "cmu_mosei": ("raw", "mmsa", "features"),
    "cmu_mosi": ("raw", "mmsa", "features"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `CORPUS OUT` for each corpus, and `checkpoints OUT`."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{" + ",".join([*CORPORA, "checkpoints"]) + "}")
    parsers = []
    for name, (count, least, told) in CORPORA.items():
        parsers.append(kinds.add_parser(name, help=f"a corpus on disk {told}"))
        parsers[-1].add_argument(
            "--utterances",
            type=int,
            default=count,
            metavar="N",
            help=f"how many, {least} or more (default: %(default)s)",
        )
        if name == "korean_vat":
            parsers[-1].add_argument(
                "--recordings", action="store_true", help="m2ts recordings and a table of sentences, not frames"
            )
        if name in FORMS:
            parsers[-1].add_argument(
                "--form",
                choices=FORMS[name],
                default="raw",
                help="the raw release, label.csv and Raw as MMSA has them, or pickled features (default: raw)",
            )
    parsers.append(
        kinds.add_parser("checkpoints", help="wav2vec, RoBERTa and FAb-Net files of small or random networks")
    )
    for kind in parsers:
        kind.add_argument("out", type=Path, metavar="OUT", help="folder to write")
        kind.add_argument("--seed", type=int, default=1, metavar="S", help="of everything drawn (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; 0 on success."""
    written = import_module(f"..toy.{args.kind}", __package__)
    given: dict[str, Any] = {"recordings": True} if getattr(args, "recordings", False) else {}
    if args.kind in FORMS:
        given["form"] = args.form
    written.write(args.out, *([args.utterances] if args.kind in CORPORA else []), args.seed, **given)
    show(told(args))
    return 0


def told(args: argparse.Namespace) -> str:
    """What was written where, and the command that goes on with it."""
    if args.kind == "checkpoints":
        path = args.out / "wav2vec" / "wav2vec.pt"
        return f"{args.out}: small checkpoints; each names a backbone, as --audio-backbone wav2vec:{path}"
    name = RAW.get(args.kind, "Processed/unaligned_50.pkl" if getattr(args, "form", "") == "features" else "")
    words = ["mm-fairseq", "prepare", args.kind, str(args.out / name), f"{args.out}-prepared"]
    what = f"{args.out}: {args.utterances} utterances {CORPORA[args.kind][2]}"
    return f"{what}; next: {shlex.join([*words, *PREPARE.get(args.kind, ())])}"
