"""Tasks, models and validations without the commands around them, for tests of the fairseq side."""

import json

import numpy as np
import torch
from fairseq.logging import metrics
from omegaconf import OmegaConf

from mm_fairseq.criterions.emotion_prediction import EmotionPredictionCriterion
from mm_fairseq.criterions.options import EmotionPredictionCriterionConfig
from mm_fairseq.models.ssl_fusion import SSLFusionConfig
from mm_fairseq.tasks._config import EmotionPredictionConfig
from mm_fairseq.tasks.emotion_prediction import EmotionPredictionTask

SMALL = {"audio_backbone": "mfcc:n_mfcc=8,n_mels=16", "text_backbone": "embedding:dim=8", "encoder_attention_heads": 2}

HINTS = {
    "emotion": (3 * np.eye(4, dtype=np.float32)).tolist(),
    "each": np.kron(np.eye(4, dtype=np.float32), [-2, 2]).tolist(),
    "events": [[2, -2, -2], [2, 2, -2], [-2, 2, 2], [-2, -2, -2]],
    "sentiment": [[-2], [-0.5], [0], [1.5]],
}


def task_of(data, from_checkpoint=False, around=None, **options):
    """A task with `options`, in a configuration that has what is `around` it."""
    cfg = OmegaConf.structured(EmotionPredictionConfig(data=str(data), **options))
    root = OmegaConf.create({**(around or {}), "task": cfg})
    return EmotionPredictionTask.setup_task(root.task if around else cfg, from_checkpoint=from_checkpoint)


def around(checkpoint="", select="loss", maximize=False, max_valid_steps=None, **common_eval):
    """The options of fairseq beside those of the task."""
    return {
        "common": {"seed": 3},
        "model": {"_name": "ssl_fusion"},
        "common_eval": {"path": str(checkpoint) if checkpoint else None, "results_path": None, **common_eval},
        "dataset": {"max_valid_steps": max_valid_steps, "disable_validation": False},
        "checkpoint": {
            "best_checkpoint_metric": select,
            "maximize_best_checkpoint_metric": maximize,
            "save_dir": "checkpoints",
            "restore_file": "checkpoint_last.pt",
        },
    }


def model_cfg(**options):
    return OmegaConf.create({**vars(SSLFusionConfig()), **SMALL, "_name": "ssl_fusion", **options})


def criterion_of(task, **options):
    return EmotionPredictionCriterion.build_criterion(EmotionPredictionCriterionConfig(**options), task)


def state_of(task, updates=7):
    """The state of a task after a training, as it comes back from a checkpoint."""
    for name in ("meta", "targets", "dictionary", "modalities", "attributes", "run"):
        getattr(task.state, name)
    return json.loads(json.dumps(task.state_dict() | {"updates": updates}))


def checkpoint_task(data, state, around=None, **options):
    """The task of `fairseq-validate`."""
    task = task_of(data, from_checkpoint=True, around=around, **options)
    task.load_state_dict(state)
    return task


class Guess(torch.nn.Module):
    """Logits out of the tokens of a text, the same in any batch; of a data-bin of every kind often right."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(3)
        self.outputs = outputs
        self.table = torch.nn.Embedding(16, sum(outputs.values()))
        if outputs.keys() == HINTS.keys():
            with torch.no_grad():  # the tokens that tell the class
                self.table.weight[4:8] += torch.cat([torch.tensor(HINTS[name]) for name in outputs], 1)

    def forward(self, inputs, padding_masks):
        kept = ~padding_masks["text"]
        logits = (self.table(inputs["text"]) * kept[..., None]).sum(1)
        return {"logits": dict(zip(self.outputs, logits.split(list(self.outputs.values()), -1), strict=True))}


def batches_of(dataset, size, order=None):
    order = list(range(len(dataset)) if order is None else order)
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    return [dataset.collater([dataset[index] for index in part]) for part in parts]


def logs_of(task, batches, model=None):
    """What `valid_step` logs for each batch."""
    model, criterion = model or Guess(task.outputs), criterion_of(task).eval()
    return [task.valid_step(batch, model, criterion)[2] for batch in batches]


def reduced(task, groups):
    """The metrics after groups of logs: all at once in `fairseq-validate`, batch after batch in the trainer."""
    task.begin_valid_epoch(1, None)
    criterion = criterion_of(task).eval()
    with metrics.aggregate(new_root=True) as found:
        for group in groups:
            task.reduce_metrics(group, criterion)
    return found.get_smoothed_values()
