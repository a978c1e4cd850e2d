import torch

from mm_fairseq.modules.waveform import Pieces, normalised


def masks(lengths, size):
    return torch.arange(size) >= torch.tensor(lengths)[:, None]


def test_normalised_over_the_real_samples_alone():
    torch.manual_seed(0)
    x = torch.randn(3, 50) * torch.tensor([[1e-3], [1.0], [100.0]]) + torch.tensor([[0.5], [0.0], [-3.0]])
    mask = masks([50, 20, 7], 50)
    x[1, 20:] = 1e6
    out = normalised(x, mask)
    for row, length in enumerate([50, 20, 7]):
        real = x[row, :length]
        expected = (real - real.mean()) / real.std(correction=0)
        torch.testing.assert_close(out[row, :length], expected, atol=2e-3, rtol=2e-2)
        assert (out[row, length:] == 0).all()


def test_silence_a_constant_and_nothing_stay_zero():
    x = torch.tensor([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25], [1.0, 2.0, 3.0]])
    assert (normalised(x, masks([3, 2, 0], 3)) == 0).all()


def test_gain_and_offset_do_not_matter():
    torch.manual_seed(0)
    x = torch.randn(2, 400)
    mask = masks([400, 333], 400)
    torch.testing.assert_close(normalised(x, mask), normalised(0.3 * x - 0.1, mask), atol=1e-3, rtol=1e-3)


def test_pieces_are_the_linear_map_of_each_part():
    torch.manual_seed(0)
    pieces, x = Pieces(4, 3), torch.randn(2, 10)
    out = pieces(x)
    assert out.shape == (2, 3, 3)
    for number in range(3):
        part = torch.zeros(2, 4)
        found = x[:, 4 * number : 4 * number + 4]
        part[:, : found.size(1)] = found
        torch.testing.assert_close(out[:, number], part @ pieces.linear.weight.T + pieces.linear.bias)


def test_no_further_piece_where_the_length_divides():
    pieces = Pieces(4, 3)
    assert [pieces(torch.zeros(1, length)).size(1) for length in (1, 4, 5, 8)] == [1, 1, 2, 2]
