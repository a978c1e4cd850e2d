"""Models on the disk that were changed, and how they are refused."""

import pytest
import torch

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import EmotionModel

NAME = "wave_text"


def refused(path, match, **options):
    with pytest.raises(MMFairseqError, match=match) as error:
        EmotionModel.from_pretrained(path, **options)
    assert str(path).split("::")[0] in str(error.value)


def changed(small_models, folder, change):
    """A copy of a checkpoint with something in it changed."""
    state = torch.load(small_models.checkpoint(NAME), weights_only=True)
    change(state)
    torch.save(state, folder / "changed.pt")
    return folder / "changed.pt"
