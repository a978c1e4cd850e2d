"""StreamEncoder: the same with and without padding, and never without a frame."""

import pytest
import torch

from mm_fairseq.modules.encoder import StreamEncoder


def encoder(layers=2, max_positions=9):
    torch.manual_seed(0)
    return StreamEncoder(8, 2, layers, 16, max_positions, dropout=0.0, attention_dropout=0.0)


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("training", [True, False])  # torch takes another path in evaluation
def test_padded_equals_alone(layers, training):
    model = encoder(layers).train(training)
    rows = [torch.randn(length, 8) for length in (3, 7, 1)]
    x = torch.full((3, 7, 8), 50.0)
    mask = torch.ones(3, 7, dtype=torch.bool)
    for row, item in enumerate(rows):
        x[row, : len(item)], mask[row, : len(item)] = item, False
    with torch.set_grad_enabled(training):
        out, out_mask = model(x, mask)
        for row, item in enumerate(rows):
            alone, alone_mask = model(item[None], torch.zeros(1, len(item), dtype=torch.bool))
            assert alone.shape[1] == len(item) + 1
            assert not alone_mask.any()
            torch.testing.assert_close(out[row, : len(item) + 1], alone[0], atol=1e-6, rtol=1e-5)
            assert (out[row, len(item) + 1 :] == 0).all()
            assert out_mask[row].tolist() == [False] * (len(item) + 1) + [True] * (7 - len(item))


def test_frames_beyond_the_limit_are_cut():
    model = encoder(max_positions=4).eval()
    x, mask = torch.randn(2, 9, 8), torch.zeros(2, 9, dtype=torch.bool)
    torch.testing.assert_close(model(x, mask), model(x[:, :4], mask[:, :4]))
    assert model(x, mask)[0].shape == (2, 5, 8)
    assert model.max_positions == 4


def test_a_row_of_padding_keeps_its_start_vector():
    model = encoder().eval()
    out, mask = model(torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool))
    assert mask.tolist() == [[False, True, True, True]]
    assert out.isfinite().all()
    assert (out[0, 0] != 0).any()


def test_order_of_frames_matters():
    model = encoder().eval()
    x, mask = torch.randn(1, 4, 8), torch.zeros(1, 4, dtype=torch.bool)
    assert (model(x, mask)[0][:, 0] - model(x.flip(1), mask)[0][:, 0]).abs().max() > 1e-4


@pytest.mark.parametrize("lengths", [(7, 7), (7, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_layers_equal_torch(lengths, training):
    model = encoder().train(training)
    x, mask = torch.randn(2, 7, 8), torch.arange(7) >= torch.tensor(lengths)[:, None]
    out, whole = model(x, mask)
    expected = torch.cat([model.start.expand(2, 1, -1), x], 1) + model.positions[:8]
    expected = model.norm(expected)
    for layer in model.layers:
        expected = torch.nn.TransformerEncoderLayer.forward(layer, expected, src_key_padding_mask=whole)
    torch.testing.assert_close(out[~whole], expected[~whole], atol=1e-6, rtol=1e-5)


def test_dropout_draws_in_training_alone():
    torch.manual_seed(0)
    model = StreamEncoder(8, 2, 1, 16, 9, dropout=0.2, attention_dropout=0.2)
    x, mask = torch.randn(2, 7, 8), torch.arange(7) >= torch.tensor([7, 4])[:, None]
    assert not torch.equal(model(x, mask)[0], model(x, mask)[0])
    model.eval()
    assert torch.equal(model(x, mask)[0], model(x, mask)[0])
