"""What `fairseq-validate` predicts, as lines of `predictions.jsonl`."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from ..databin import write_atomic
from ..datasets import RawAudioTextVideoDataset
from ..targets import Kind

logger = logging.getLogger(__name__)


def folder_of(task_cfg: DictConfig) -> Path | None:
    """Where `fairseq-validate` puts predictions: --results-path, else the checkpoint's folder; None elsewhere."""
    root: Any = task_cfg._get_parent()
    common = root.get("common_eval") if root else None
    if not common or not common.get("path"):
        return None
    return Path(common.get("results_path") or Path(common["path"].split(os.pathsep)[0]).parent)


def predict(
    dataset: RawAudioTextVideoDataset,
    kinds: Mapping[str, Kind],
    sample: Mapping[str, Any],
    logits: Mapping[str, Tensor],
) -> list[tuple[int, dict[str, Any]]]:
    """The place in the split and the line of each utterance and target of a batch, in plain types.

    Args:
        dataset: what the batch was made of.
        kinds: target name to kind.
        sample: the batch.
        logits: target name to (B, outputs).
    """
    lines = []
    for name, kind in kinds.items():
        indices, truths = sample["id"].tolist(), sample["target"][name].tolist()
        for index, truth, answer in zip(indices, truths, kind.decode(logits[name]), strict=True):
            utterance = dataset.utterances[index]
            line = {
                "id": utterance.id,
                "split": dataset.subset,
                "name": name,
                "kind": kind.target.kind,
                "target": kind.label(truth),
                **answer,
                "modalities": [modality for modality in dataset.modalities if dataset.lengths[modality][index]],
                "speaker": utterance.speaker,
                "session": utterance.session,
            }
            lines.append((index, line))
    return lines


def write(folder: Path, lines: list[tuple[int, dict[str, Any]]]) -> None:
    """Write the lines of one split to `folder/<split>/predictions.jsonl`, in the order of the split, atomically."""
    lines = sorted(lines, key=lambda entry: (entry[0], entry[1]["name"]))
    path = folder / lines[0][1]["split"] / "predictions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for _, line in lines).encode())
    logger.info("%d predictions: %s", len(lines), path)
