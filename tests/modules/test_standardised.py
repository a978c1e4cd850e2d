"""Fixed scale, in single precision whatever the model is in."""

import torch
from torch import nn

from mm_fairseq.modules.standardised import SinglePrecision, Standardised


def test_shift_scale_and_limit():
    x = torch.tensor([[3.0, -100.0]])
    assert torch.equal(Standardised([1, 0], [2, 4])(x), torch.tensor([[1.0, -25.0]]))
    assert torch.equal(Standardised([1, 0], [2, 4], limit=10)(x), torch.tensor([[1.0, -10.0]]))


def test_stays_in_single_precision():
    class Times(SinglePrecision):
        def __init__(self):
            super().__init__()
            self.register_buffer("fine", torch.tensor([1.0001, 2.0001]))

        def forward(self, x):
            return self.fine * x

    model = nn.Sequential(Times(), Standardised([0.3, 0.1], [3.1, 7.1]))
    x = torch.randn(5, 2)
    expected = model(x)
    assert torch.equal(model.half()(x), expected)
    assert list(model.state_dict()) == ["0.fine"]
