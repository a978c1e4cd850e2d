"""Fixed scale, in single precision whatever the model is in."""

import torch
from torch import nn

from mm_fairseq.modules.standardised import Standardised


def test_shift_scale_and_limit():
    x = torch.tensor([[3.0, -100.0]])
    assert torch.equal(Standardised([1, 0], [2, 4])(x), torch.tensor([[1.0, -25.0]]))
    assert torch.equal(Standardised([1, 0], [2, 4], limit=10)(x), torch.tensor([[1.0, -10.0]]))


def test_stays_in_single_precision():
    class Channels(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("fine", torch.tensor([1.0001, 2.0001]))

        def forward(self, x):
            return self.fine[:, None] * x[:, None]

    model = nn.Sequential(Standardised([0.3, 0.1], [3.1, 7.1], transform=Channels()))
    x = torch.randn(2, 5)
    expected = model(x)
    assert expected.shape == (2, 5, 2)
    assert torch.equal(model.half()(x), expected)
    assert not model.state_dict().keys() & {"0.shift", "0.scale"}
