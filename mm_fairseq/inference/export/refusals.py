"""What cannot be exported, and why: data that `mm-fairseq export --list` prints and errors quote."""

from typing import NamedTuple

from torch import nn

from ...backbones import BACKBONES

BACKBONE = "backbone "


class Refusal(NamedTuple):
    """Something that is not in an exported file of any format.

    Attributes:
        what: in words; `backbone NAME` is refused when it is asked for.
        reason: why, and what to do instead.
    """

    what: str
    reason: str


REFUSALS = (
    Refusal(
        f"{BACKBONE}egemaps",
        "openSMILE computes it, a program in C++ that is no tensor operation: compute it by the opensmile package and "
        "give the features to --part fusion",
    ),
    Refusal(
        "backbones of --omit-frozen-backbones",
        "the checkpoint has no weights of them: --part fusion reads their features",
    ),
    Refusal(
        "decoding, resampling to 16 kHz, faces",
        "files begin with samples, token numbers and pictures; config.json says at which rate and size",
    ),
    Refusal(
        "tokenisers",
        "they work on strings; their files and the dictionary are written beside the export",
    ),
    Refusal(
        "training",
        "dropout, masking, losses (the reconstruction of perceiver_emo, too) and --dynamic of av_graph: what is "
        "exported is the model in evaluation",
    ),
    Refusal(
        "sound longer, or text longer, than the model takes",
        "config.json has the longest input: cut there, as the data sets of this package do",
    ),
)


def refusal(encoder: nn.Module) -> str:
    """Why a backbone cannot be exported; "" where it can."""
    names = [f"{BACKBONE}{name}" for name in BACKBONES.names() if type(encoder) is BACKBONES.get(name)]
    return next((each.reason for each in REFUSALS if each.what in names), "")
