"""Losses and gradients that are not finite numbers: whose they are, where that is told, how many are left out."""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import MMFairseqError, named
from ..fairseq_compat.non_finite import ENDED, SKIPPED

logger = logging.getLogger(__name__)

NAME = "non_finite.jsonl"
SHOWN = 8  # utterances in a message


class Suspect(NamedTuple):
    """An utterance of an update that went wrong.

    Args:
        id: its id.
        split: where it stands.
        fault: "loss" or "gradient", what is not finite.
        alone: whether that is so without its neighbours in the batch.
        among: how many utterances its rank had in that update.
    """

    id: str
    split: str
    fault: str
    alone: bool
    among: int = 0


class NonFinite:
    """Follows the updates of a training, see `fairseq_compat.non_finite.Watch`.

    Args:
        task: knows what batches hold, and adds the loss of each.
        most: --skip-nonfinite, updates that may be left out in all.

    Raises:
        MMFairseqError: `most` is negative.
    """

    def __init__(self, task: Any, most: int) -> None:
        if most < 0:
            raise MMFairseqError(f"--skip-nonfinite {most}: a number of updates, 0 or more")
        self.task, self.most = task, most
        self.update, self.skipped, self.message, self.spoilt = 0, 0, "", ""
        self.losses: list[Tensor] = []
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def begin(self, model: torch.nn.Module, update: int) -> None:
        self.update, self.losses, self.message, self.spoilt = update, [], "", ""
        self._statistics = [(x, x.clone()) for module in _norms(model) for x in module.buffers(recurse=False)]

    def lost(self) -> bool:
        return bool(self.losses) and not torch.stack([loss.float() for loss in self.losses]).isfinite().all()

    def suspects(self, model: torch.nn.Module, criterion: Any, batches: Iterable[Any], gradients: bool) -> list[Any]:
        for x, before in self._statistics:  # which the forward pass has spoilt
            x.copy_(before)
        fault, found, among = "gradient" if gradients else "loss", [], 0
        finite = [bool(loss.isfinite()) for loss in self.losses]
        norms = [module for module in _norms(model) if module.training]
        for module in norms:
            module.eval()  # one utterance has no variance
        try:
            for number, batch in enumerate(batches):
                among += len(batch["id"])
                if not gradients and all(finite[number : number + 1]):
                    continue
                seen = self.task.seen(batch, self.update)
                try:
                    wrong = [_is_wrong(model, criterion, row, gradients) for row in _rows(seen)]
                except RuntimeError as error:  # out of memory, most likely
                    logger.warning("cannot look for the utterance, only for the batch: %s", error)
                    wrong = []
                utterances = self.task.datasets[batch["subset"]].utterances
                ids = [utterances[index].id for index in batch["id"].tolist()]
                alone = any(wrong)
                named = [name for name, hit in zip(ids, wrong) if hit] if alone else ids
                found += [Suspect(name, batch["subset"], fault, alone) for name in named]
        finally:
            for module in norms:
                module.train()
        return [each._replace(among=among)._asdict() for each in found]

    def may_skip(self, model: torch.nn.Module) -> bool:
        self.spoilt = next((name for name, x in model.named_parameters() if not x.isfinite().all()), "")
        return not self.spoilt and self.skipped < self.most

    def tell(self, found: list[list[Any]], action: str, folder: str, master: bool, skippable: bool = True) -> None:
        every = [(rank, Suspect(**each)) for rank, part in enumerate(found) for each in part]
        fault = every[0][1].fault if every else "loss"
        alone = [each for each in every if each[1].alone]
        diverged = bool(self.spoilt) or (1 < len(every) == len(alone) and all(map(_is_everything, found)))
        if alone and fault == "gradient":  # the sum of all batches is: those without such an utterance are in order
            every = alone
        told = f"update {self.update + 1}: "
        if self.spoilt:
            told += f"the model has diverged: {self.spoilt} is not finite any more, so that nothing can be left out"
        elif diverged:
            told += (
                f"the {fault} is not a finite number for any of the {len(every)} utterances of the batch, each alone: "
            )
            told += "most likely the model has diverged"
        else:
            told += f"the {fault} is not a finite number for {_named(alone, every)}"
        self.skipped += action == SKIPPED
        path = Path(folder) / NAME
        if master:
            lines = [
                each._asdict() | {"update": self.update + 1, "rank": rank, "action": action} for rank, each in every
            ]
            _append(path, "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines).encode())
        if action == ENDED:
            used = f"; {self.skipped} updates were left out before" if self.most else ""
            advice = [] if diverged else ["look at their labels and data"]
            advice += ["try a smaller --lr", "clip gradients with --clip-norm"]
            if skippable and not diverged:
                advice += ["leave at most N such updates out with --skip-nonfinite N"]
            subject = "The utterances of the batch" if diverged else "They"
            found_in = f"{subject} stand in {path}: {', '.join(advice[:-1])}, or {advice[-1]}"
            self.message = f"{told}{used}. {found_in}"
        elif master:
            left = f"left out, {self.skipped} of at most {self.most}" if action == SKIPPED else action
            logger.warning("%s; %s; see %s", told, left, path)


def _append(path: Path, lines: bytes) -> None:
    """Add lines to a file, in place of the beginning of one that a full disk may have left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(lines)


def _is_everything(part: list[Any]) -> bool:
    """Whether the suspects of a rank are all that it had."""
    return bool(part) and len(part) == part[0].get("among")


def _named(alone: list[tuple[int, Suspect]], every: list[tuple[int, Suspect]]) -> str:
    told = _listed(alone)
    if len(alone) < len(every):
        told += f"{', and' * bool(alone)} some or all of these together: "
        told += _listed([each for each in every if not each[1].alone])
    return told


def _listed(found: list[tuple[int, Suspect]]) -> str:
    return named([suspect.id for _, suspect in found], SHOWN)


def _norms(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Layers that gather statistics of what they see."""
    return [module for module in model.modules() if getattr(module, "running_mean", None) is not None]


def _rows(batch: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Every utterance of a batch as a batch of its own, padded as it is."""
    size = batch["nsentences"]

    def part(x: Any, row: int) -> Any:
        if isinstance(x, dict):
            return {key: part(value, row) for key, value in x.items()}
        return x[row : row + 1] if isinstance(x, Tensor) and x.dim() and len(x) == size else x

    return (part(batch, row) | {"nsentences": 1} for row in range(size))


def _is_wrong(model: torch.nn.Module, criterion: Any, batch: dict[str, Any], gradients: bool) -> bool:
    with torch.set_grad_enabled(gradients):
        loss = criterion(model, batch)[0]
    if not gradients:
        return not loss.isfinite()
    wanted = [x for x in model.parameters() if x.requires_grad]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return not all(x.isfinite().all() for x in found if x is not None)
