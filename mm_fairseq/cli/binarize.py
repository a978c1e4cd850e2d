"""Decode a prepared corpus into a data-bin: sound, tokens and face-centred frames, read by memory map.

What cannot be read is named, with the reason, in DATA_BIN/quarantine.jsonl.
"""

import argparse
import sys

from ..manifest import MODALITIES
from ..media.faces import FACES
from ..preprocessing.binarize import binarize
from ..preprocessing.engines import cores
from ..preprocessing.items import Settings
from . import _engines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.add_argument("prepared", metavar="PREPARED", help="folder that `mm-fairseq prepare` wrote")
    parser.add_argument("data_bin", metavar="DATA_BIN", help="folder to write")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="W",
        help=f"processes (default: the cores, {cores()}; torchrun's processes share them; in a job its cores)",
    )
    _engines.add_arguments(parser)
    parser.add_argument(
        "--resume", action="store_true", help="take up a run that was interrupted; finished shards are kept"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make it anew beside the one that is there, whose place it takes"
    )
    parser.add_argument(
        "--no-budget",
        action="store_true",
        help="go on however much of the corpus turns out bad; without it a run stops where more than 10 and 0.1 %% of "
        "all utterances, or more than 5 and 1 %% of a class or split, or more than 100 in a row lose what the manifest "
        "promises",
    )
    parser.add_argument(
        "--modalities",
        default=",".join(MODALITIES),
        metavar="LIST",
        help="which to store where the corpus has them (default: %(default)s)",
    )
    parser.add_argument(
        "--tokenizer",
        default=default.tokenizer,
        metavar="SPEC",
        help="gpt2:DIR with encoder.json, vocab.bpe, dict.txt; hf:DIR, a folder of Hugging Face, as the text backbone "
        "hf_text needs it; sentencepiece:FILE; fastbpe:CODES[,VOCAB]; words, in lower case, and punctuation marks; "
        "chars, white space as |; or, trained on the training transcripts, sentencepiece (default) or fastbpe",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=default.vocab_size,
        metavar="N",
        help="pieces of a sentencepiece or fastbpe that is trained (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=float, default=default.fps, metavar="RATE", help="frames a second (default: %(default)s)"
    )
    parser.add_argument(
        "--frame-size",
        type=int,
        default=default.frame_size,
        metavar="PIXELS",
        help="side of a frame (default: %(default)s)",
    )
    parser.add_argument(
        "--faces",
        choices=FACES,
        default=default.faces,
        help="detect: crop around the face, which is followed, the centre where none is found; center: largest centred "
        "square; none: the whole picture (default: %(default)s)",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=default.max_seconds,
        metavar="S",
        help="longest utterance (default: %(default)s)",
    )
    parser.add_argument(
        "--shard-size",
        type=int,
        default=default.shard_size,
        metavar="N",
        help="utterances in a shard (default: 8 to 256, by the size of the corpus)",
    )
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="read recordings through links that lead out of the corpus's folder; else these are set aside",
    )


def run(args: argparse.Namespace) -> int:
    settings = Settings(
        modalities=tuple(name.strip() for name in args.modalities.split(",")),
        tokenizer=args.tokenizer,
        vocab_size=args.vocab_size,
        fps=args.fps,
        frame_size=args.frame_size,
        faces=args.faces,
        max_seconds=args.max_seconds,
        shard_size=args.shard_size,
        follow_links=args.follow_links,
    )
    share = _engines.share_of(args)
    with _engines.engine_of(args) as engine:
        workers = (
            args.workers
            if args.workers is not None
            else (engine.cpus if engine else max(1, cores() // share.local_ranks))
        )
        summary = binarize(
            args.prepared,
            args.data_bin,
            settings,
            workers,
            args.resume,
            args.overwrite,
            share,
            engine,
            not args.no_budget,
        )
    sys.stdout.write("\n".join(summary) + "\n")
    return 0
