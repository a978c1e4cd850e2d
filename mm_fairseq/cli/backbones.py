"""List the backbones, or try pretrained files: what they are, whether they load, what comes out.

A specification is what --audio-backbone, --text-backbone, --video-backbone and `mm-fairseq extract --backbone` take:
NAME, NAME:FILE or NAME:FILE,key=value.
"""

import argparse
import textwrap
from typing import Any

from ..backbones import ANY, BACKBONES, BackboneSet, Spec, parameters, resolve, unsafe_checkpoints
from ..errors import MMFairseqError
from ..manifest import MODALITIES
from ..tables import Table
from ._tables import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec", nargs="*", metavar="SPEC", help="pretrained files to try, as hubert:hubert_base_ls960.pt"
    )
    parser.add_argument(
        "--allow-unsafe-checkpoints",
        action="store_true",
        help="load files that hold more than plain types: they may run any code",
    )


def run(args: argparse.Namespace) -> int:
    if not args.spec:
        show(listing())
        return 0
    with unsafe_checkpoints(args.allow_unsafe_checkpoints):
        for spec in args.spec:
            show(tried(spec))
    return 0


def listing() -> str:
    """The registered backbones by modality: what each gives, and its options."""
    lines = ["SPEC: NAME[:FILE[,option=value,...]]; `mm-fairseq backbones SPEC` tries one"]
    for modality in (*MODALITIES, ANY):
        lines += ["", modality]
        for name in BACKBONES.names():
            backbone = BACKBONES.get(name)
            if backbone.modality == modality:
                what = " ".join((backbone.__doc__ or "").split("\n\n")[0].split())
                told = f"{what} Input: {backbone.normalisation}." if backbone.normalisation != "none" else what
                options = ", ".join(dict.fromkeys([*backbone.file_options, *parameters(backbone)]))
                lines += [f"  {name}", *(textwrap.wrap(told, 110, initial_indent="      ", subsequent_indent="      "))]
                if options:
                    lines += textwrap.wrap(options, 110, initial_indent="      options: ", subsequent_indent="        ")
    return "\n".join(lines)


def tried(text: str) -> Table:
    """What is known of a backbone once its files are loaded.

    Raises:
        MMFairseqError: they do not load.
    """
    modality = BACKBONES.get(text.partition(":")[0]).modality
    if modality == ANY:
        raise MMFairseqError(f"{text}: hands on features of a data-bin and loads nothing that could be tried")
    found = resolve({modality: text}, set(), {"text": {"vocabulary": 4}})
    backbones = BackboneSet(found.entries)
    backbones.load_pretrained(found)
    encoder: Any = backbones.encoders[modality]
    unit = {"audio": "samples at 16 kHz", "text": "tokens", "video": "frames"}[modality]
    step = f"{encoder.stride} {unit}" + (f" ({1000 / encoder.rate_hz:g} ms)" if encoder.rate_hz else "")
    facts = {
        "reads": modality,
        "normalisation": encoder.normalisation,
        "width": f"{encoder.dim}"
        + (f", of {encoder.states} states, summed by learnt weights" if encoder.states > 1 else ""),
        "layers": str(len(encoder.layers()) or "-"),
        "a frame every": step,
        "shortest input": f"{encoder.receptive_field} {unit}",
        "longest input": f"{encoder.max_input} {unit}" if encoder.max_input else "any",
        "padding": "masked" if encoder.takes_mask else "never encoded",
        "parameters": f"{sum(weight.numel() for weight in encoder.parameters()):,}",
        "files": ", ".join(map(str, Spec.parse(modality, text).files.values())) or "none",
    }
    facts |= {f"sha256 of {key}": value for key, value in found.entries[modality]["sha256"].items()}
    return Table(f"{text}: loads", ["", "value"], [[key, value] for key, value in facts.items()], numeric=False)
