"""Cache what pretrained backbones make of a data-bin, so that a training with frozen backbones need not run them.

Each backbone gets a stream of its own in the data-bin, read by fairseq-train where backbone, file and limits are the
same (--backbone-source).
"""

import argparse
import sys

from ..manifest import MODALITIES
from ..models.ssl_fusion import SSLFusionConfig
from ..preprocessing.extract import CODE_FRAMES, DTYPES, Settings, extract
from . import _engines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data_bin", metavar="DATA_BIN", help="folder that `mm-fairseq binarize` wrote")
    parser.add_argument(
        "--backbone",
        action="append",
        required=True,
        metavar="MODALITY=BACKBONE",
        help="audio=wav2vec:FILE, text=roberta:DIR, video=fabnet:FILE, audio=wav2vec2:FILE,layer=9 ...: as for "
        "--audio-backbone in training; may be given several times",
    )
    _engines.add_arguments(parser)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="W",
        help="processes, of one thread each (default: the cores, in a job its cores; 1 on a GPU)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda, cuda:K, or auto: a GPU where there is one (default); under torchrun each process has its own",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="of the features on the disk (default: %(default)s)"
    )
    for modality in MODALITIES:
        codes = f"; {CODE_FRAMES} of vq_wav2vec" if modality == "audio" else ""
        parser.add_argument(
            f"--max-positions-{modality[0]}",
            type=int,
            metavar="N",
            help=f"cut {modality} after N frames of features, as training does (default: {_usual(modality)}{codes})",
        )
    parser.add_argument("--resume", action="store_true", help="take up what was interrupted; finished shards are kept")
    parser.add_argument("--overwrite", action="store_true", help="make a stream anew that is there already")
    parser.add_argument(
        "--allow-unsafe-checkpoints",
        action="store_true",
        help="load pretrained files that hold more than plain types: they may run any code",
    )


def run(args: argparse.Namespace) -> int:
    given = {name: getattr(args, f"max_positions_{name[0]}") for name in MODALITIES}
    settings = Settings(
        frames={name: frames for name, frames in given.items() if frames is not None},
        usual_frames={name: _usual(name) for name in MODALITIES},
        dtype=args.dtype,
        device=args.device,
        workers=args.workers,
        share=_engines.share_of(args),
        resume=args.resume,
        overwrite=args.overwrite,
    )
    with _engines.engine_of(args, 0 if args.device == "cpu" else None) as engine:
        summary = extract(args.data_bin, args.backbone, settings, engine, args.allow_unsafe_checkpoints)
    sys.stdout.write("\n".join(summary) + "\n")
    return 0


def _usual(modality: str) -> int:
    return getattr(SSLFusionConfig, f"max_positions_{modality[0]}")
