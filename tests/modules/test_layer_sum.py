import torch

from mm_fairseq.modules.layer_sum import LayerSum


def test_begins_as_the_mean():
    states = torch.randn(3, 4, 2, 5)  # B x T x S x C
    torch.testing.assert_close(LayerSum(2)(states.flatten(2)), states.mean(2))


def test_weights_are_a_softmax_and_learn():
    states = torch.randn(3, 4, 2, 5, dtype=torch.float64)
    mixer = LayerSum(2).double()
    mixer.weight.data = torch.tensor([0.3, -1.2], dtype=torch.float64)
    first = mixer.weight.detach().exp()[0] / mixer.weight.detach().exp().sum()
    found = mixer(states.flatten(2))
    torch.testing.assert_close(found, first * states[:, :, 0] + (1 - first) * states[:, :, 1])
    found.sum().backward()
    assert mixer.weight.grad.abs().min() > 0


def test_padding_stays_zero():
    assert (LayerSum(3)(torch.zeros(1, 2, 6)) == 0).all()
