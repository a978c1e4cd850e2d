"""The search for the layer that made a NaN, in models whose output is a dictionary."""

import logging

import pytest
import torch
from fairseq.nan_detector import NanDetector

from mm_fairseq import fairseq_compat


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)
        with torch.no_grad():
            self.inner.weight.fill_(float("nan"))

    def forward(self, x):
        return {"logits": {"emotion": self.inner(x)}}


def search():
    model = Model()
    with NanDetector(model):
        model(torch.ones(1, 2))["logits"]["emotion"].sum().backward()


def test_the_layer_is_named(caplog):
    with caplog.at_level(logging.WARNING):
        search()
    assert "NaN detected in output of inner" in caplog.text


def test_fairseq_itself_dies_of_it(monkeypatch):
    def add_hooks(self, module):
        self.fhooks.append(module.register_forward_hook(self.fhook_fn))
        self.bhooks.append(module.register_backward_hook(self.bhook_fn))

    monkeypatch.setattr(NanDetector, "add_hooks", add_hooks)
    with pytest.raises((StopIteration, RuntimeError)):
        search()


def test_the_repair_is_in_place():
    assert NanDetector.add_hooks is fairseq_compat._hooks_of_leaves
