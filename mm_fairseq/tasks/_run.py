"""What the task has to know of the whole command: its folders, its seed, how the best checkpoint is chosen."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from .. import metrics
from ..checkpoints import LAST, last_in
from ..errors import MMFairseqError
from ..fairseq_compat.checkpoints import claim, claim_training, resumed_from
from ..untrusted import check_options
from ..versions import installed

TEST = "test"


@dataclass(frozen=True)
class Run:
    """Options of fairseq beside those of the task.

    Args:
        seed: of the training.
        arch: of the model.
        checkpoint: file name of what is validated; "" in training.
        predictions_dir: where `fairseq-validate` puts predictions: --results-path, else the checkpoint's folder.
        partial: --max-valid-steps cuts the validation of a training short.
        select: --best-checkpoint-metric; "" where nothing is validated.
        maximize: --maximize-best-checkpoint-metric.
        valid_subsets: --valid-subset.
        train_subset: --train-subset.
        update_freq: --update-freq, an entry an epoch.
    """

    seed: int = 1
    arch: str = ""
    checkpoint: str = ""
    predictions_dir: Path | None = None
    partial: bool = False
    select: str = ""
    maximize: bool = False
    valid_subsets: tuple[str, ...] = ("valid",)
    train_subset: str = "train"
    update_freq: tuple[int, ...] = (1,)

    def about(self) -> dict[str, Any]:
        """What `results.json` tells."""
        return {"seed": self.seed, "arch": self.arch, "checkpoint": self.checkpoint}

    def check_selection(self, names: Sequence[str]) -> None:
        """Check how the best checkpoint is chosen, before the training and not after its first epoch.

        Raises:
            MMFairseqError: the metric is none of `names`, the worst checkpoint would be kept, or test is looked at.
        """
        if not self.select:
            return
        if TEST in (subset.partition("@")[0] for subset in self.valid_subsets):
            raise MMFairseqError(
                f"--valid-subset {','.join(self.valid_subsets)}: training must not look at {TEST}, or the checkpoint "
                "would be chosen on it; score it by fairseq-validate"
            )
        if "@" in self.valid_subsets[0]:
            raise MMFairseqError(
                f"--valid-subset {','.join(self.valid_subsets)}: the checkpoint is chosen on the first of them: name a "
                "split without stress first"
            )
        if self.select not in names:
            raise MMFairseqError(f"--best-checkpoint-metric {self.select!r}; this training logs {', '.join(names)}")
        if self.maximize == metrics.lower_is_better(self.select):
            advice = "leave out" if self.maximize else "add"
            raise MMFairseqError(
                f"--best-checkpoint-metric {self.select}: the worst checkpoint would be kept; {advice} "
                "--maximize-best-checkpoint-metric"
            )


def settings(task_cfg: DictConfig) -> Run:
    """The options around those of the task; defaults where the task was made by itself.

    Raises:
        MMFairseqError: one that fairseq would run as a program is no literal.
    """
    root: Any = task_cfg._get_parent()
    if not root or not root.get("dataset"):
        return Run()
    check_options(root)
    path = root.common_eval.get("path") or ""
    first = Path(path.split(os.pathsep)[0])
    return Run(
        root.common.seed,
        str((root.get("model") or {}).get("_name", "")),
        first.name if path else "",
        Path(root.common_eval.get("results_path") or first.parent) if path else None,
        root.dataset.max_valid_steps is not None and not path,  # fairseq-validate takes no heed of it
        "" if root.dataset.disable_validation else root.checkpoint.best_checkpoint_metric,
        root.checkpoint.maximize_best_checkpoint_metric,
        tuple((root.dataset.get("valid_subset") or "valid").split(",")),
        str(root.dataset.get("train_subset") or "train"),
        tuple((root.get("optimization") or {}).get("update_freq") or (1,)),
    )


def resume_path(model_cfg: DictConfig) -> Path | None:
    """The checkpoint that this training will be resumed from, if there is one; its folder is held from now on.

    All ranks must ask, and get the same.

    Raises:
        MMFairseqError: another training writes into --save-dir, or nothing there is whole and --no-save is given.
    """
    root: Any = model_cfg._get_parent()
    checkpoint = root.get("checkpoint") if root else None
    if not checkpoint:
        return None
    folder = Path(checkpoint.save_dir)
    if not rank() and folder.is_dir() and not checkpoint.get("no_save"):
        claim_training(folder)
    suffix = checkpoint.get("checkpoint_suffix") or ""
    if checkpoint.restore_file == LAST:
        return resumed_from(last_in(folder, suffix))
    path = Path(checkpoint.restore_file.replace(".pt", f"{suffix}.pt"))  # as fairseq does
    return path if path.is_file() else None


def claim_predictions(run: Run, split: str) -> None:
    """Hold the place of a split's predictions until this process ends.

    Raises:
        MMFairseqError: another process is writing them.
    """
    folder = run.predictions_dir
    if folder is not None and not rank():
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder / f".{split}.tmp", f"{folder}: predictions of {split}")


def describe() -> dict[str, Any]:
    """The command that this process runs, and the versions that it runs on."""
    return {"command": list(sys.argv), "versions": installed()}


def rank() -> int:
    """Of this process among those that work together."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
