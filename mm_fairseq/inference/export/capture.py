"""One graph of a part, from which every format is made: torch.export's, of sizes that stay open.

While a model is captured `torch.compiler.is_exporting()` holds, and modules take branches that do not look at values
(how many rows are there, how many frames are real) but compute all of it and mask.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ...errors import MMFairseqError
from .parts import Part, Port

ROWS = 3  # of the batch that is captured
AUDIO, OTHERS = 4000, 7  # length of what is captured beyond the shortest, so that the frames are several


def capture(part: Part) -> ExportedProgram:
    """The graph of a part.

    Raises:
        MMFairseqError: torch finds something in it that depends on values.
    """
    inputs = {port.name: _example(port, number) for number, port in enumerate(part.ports)}
    masks = {name: torch.zeros(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    for mask in masks.values():
        mask[1, mask.size(1) - 1 :] = mask.size(1) > 1
    sizes = {port.name: {0: Dim.AUTO(min=1), 1: _length(port)} for port in part.ports}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(part.module, (inputs, masks), dynamic_shapes=(sizes, sizes), strict=False)
    except Exception as error:  # torch's own kinds
        raise MMFairseqError(f"{part.name} cannot be exported: {first_lines(error)}") from error


def first_lines(error: BaseException) -> str:
    """What another package says, short: of errors that led to one another, the first."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])}"[:400]


def _length(port: Port) -> object:
    return Dim.AUTO(min=port.shortest, max=port.longest) if port.shortest < port.longest else None


def _example(port: Port, number: int) -> Tensor:
    """Zeros of a length that no other size has."""
    beyond = (AUDIO if port.unit == "samples" else OTHERS) + number
    return torch.zeros(ROWS, min(port.longest, port.shortest + beyond), *port.trailing, dtype=port.dtype)


def flattened(part: Part, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> list[Tensor]:
    """The tensors of a batch in the order of the files' inputs: `names_of`."""
    return [inputs[port.name] for port in part.ports] + [masks[port.name] for port in part.ports]


def names_of(part: Part) -> list[str]:
    """Names of the inputs in their order: all modalities, then their masks."""
    return [port.name for port in part.ports] + [port.mask for port in part.ports]
