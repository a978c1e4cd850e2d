"""Export a trained model to files that run without this package, each tried against the model before it is kept.

The folder gets config.json, which tells a program all that it needs, and parity.json: what the file was tried on, and
the largest differences. Exit status 1 where one is larger than --tolerance; the file is then not written.
"""

import argparse
import textwrap
from pathlib import Path

from ..errors import MMFairseqError
from ..tables import Table
from ._tables import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..inference.export import FORMATS, PARTS, TOLERANCE

    parser.add_argument("--checkpoint", type=Path, metavar="CKPT", help="a checkpoint, or a folder of a saved model")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the files")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="model",
        help="model: one file from samples, tokens and pictures to logits; fusion: from features of the backbones to "
        "logits; backbones: a file for each, to features. Default: model",
    )
    parser.add_argument("--data", type=Path, metavar="DATA_BIN", help="try the files on utterances of this data-bin")
    parser.add_argument("--split", default="test", help="of the data-bin; default: test")
    parser.add_argument("--samples", type=int, default=4, help="utterances of the split; default: 4")
    parser.add_argument("--clips", type=Path, nargs="+", default=[], metavar="FILE", help="try them on recordings, too")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help=f"largest difference of two numbers; default: {TOLERANCE:g}"
    )
    parser.add_argument("--list", action="store_true", help="print what can be exported, and what cannot and why")


def run(args: argparse.Namespace) -> int:
    if args.list:
        show(listing())
        return 0
    if args.checkpoint is None or args.out is None:
        raise MMFairseqError("--checkpoint and --out are needed, or --list")
    if args.samples < 1:
        raise MMFairseqError(f"--samples {args.samples}: at least 1")
    if not args.tolerance > 0:
        raise MMFairseqError(f"--tolerance {args.tolerance}: above 0")
    from ..inference import EmotionModel
    from ..inference.export import export, from_clips, from_data_bin

    with EmotionModel.from_pretrained(args.checkpoint) as model:
        real = from_data_bin(model, args.data, args.split, args.samples) if args.data else []
        real += from_clips(model, args.clips)
        found = export(model, args.out, args.format, args.part, real, args.tolerance)
    rows = [
        [
            str(args.out / name),
            f"{each['real_samples']} real, {each['made_samples']} made, {len(each['cases'])} batches",
            "not a number" if each["worst"] is None else f"{each['worst']:.1e}",
            "kept" if each["passed"] else f"not written: more than {each['tolerance']:g}",
        ]
        for name, each in found.items()
    ]
    show(Table("exported", ["file", "tried on", "largest difference", ""], rows, numeric=False))
    for name, each in found.items():
        if "note" in each:
            show(f"{name}: {each['note']}")
    return 0 if all(each["passed"] for each in found.values()) else 1


def listing() -> str:
    """What goes into files, and what does not."""
    from .. import models  # noqa: F401  registers the architectures
    from ..backbones import BACKBONES
    from ..inference.export import FORMATS, REFUSALS
    from ..inference.export.refusals import BACKBONE

    out = {each.what.removeprefix(BACKBONE) for each in REFUSALS if each.what.startswith(BACKBONE)}
    kept = [name for name in BACKBONES.names() if name not in out]
    lines = [f"formats: {', '.join(FORMATS)}"]
    lines += ["architectures: all of this package, with every fusion and variant, to all formats"]
    lines += textwrap.wrap(f"backbones: {', '.join(kept)}", 110, subsequent_indent="  ")
    lines += ["", "exported to no format:"]
    for each in REFUSALS:
        lines += textwrap.wrap(f"{each.what}: {each.reason}", 110, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines)
