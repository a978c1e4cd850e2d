"""Weights of attention, written down while a model runs: what explanations are made of.

No attention of this package keeps its weights. Under `recorded` each works them out beside its usual way, whose result
stays what it is; otherwise it looks at one variable of the context.

Notation: B batch, Tq queries, Tk keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Recorded(NamedTuple):
    """What one module attended to in one call.

    Attributes:
        path: name of the module in the model.
        weights: mean over the heads, (B, Tq, Tk); zeros for keys that are padding, and in rows without a key.
        query_mask: (B, Tq), True = a query that is padding, whose weights mean nothing.
        modality: of the keys, where a module attends to several.
        rate: keys a second; 0: they are what the backbone gave, or tokens.
    """

    path: str
    weights: Tensor
    query_mask: Tensor
    modality: str = ""
    rate: float = 0.0


class _Recorder:
    def __init__(self, model: nn.Module) -> None:
        self.paths = {module: path for path, module in model.named_modules()}
        self.found: list[Recorded] = []


_recorder: ContextVar[_Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Recorded]]:
    """A list that fills, in the order of their calls, with what the parts of `model` attend to.

    It is this context's: the same model may answer in other threads meanwhile.
    """
    recorder = _Recorder(model)
    token = _recorder.set(recorder)
    try:
        yield recorder.found
    finally:
        _recorder.reset(token)


def recording() -> bool:
    """Whether weights are wanted; never by a model that is compiled or exported."""
    return not torch.compiler.is_compiling() and _recorder.get() is not None


def record(
    module: nn.Module, weights: Tensor, query_mask: Tensor | None = None, modality: str = "", rate: float = 0.0
) -> None:
    """Write down what `module` attends to; of a module that is no part of the model nothing is kept.

    Args:
        module: who attends.
        weights: (B, Tq, Tk), see `Recorded`.
        query_mask: (B, Tq); None: every query is real.
        modality, rate: see `Recorded`.
    """
    recorder = _recorder.get()
    if recorder is None or module not in recorder.paths:
        return
    mask = weights.new_zeros(weights.shape[:2], dtype=torch.bool) if query_mask is None else query_mask
    recorder.found.append(Recorded(recorder.paths[module], weights.detach(), mask, modality, rate))
