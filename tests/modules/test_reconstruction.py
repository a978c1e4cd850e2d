"""Points that are reconstructed: which, and what their error is."""

import torch

from mm_fairseq.modules.reconstruction import draw, mean_error

CPU = torch.device("cpu")


def test_points_are_of_the_whole_grid_and_none_twice():
    index, position = draw((2, 3, 4), 99, CPU)
    assert sorted(map(tuple, index.tolist())) == [(t, y, x) for t in range(2) for y in range(3) for x in range(4)]
    torch.testing.assert_close(position, -1 + 2 * index / torch.tensor([2, 3, 4]))


def test_every_point_is_drawn_as_often():
    torch.manual_seed(0)
    counts = torch.zeros(4, 5)
    for _ in range(2000):
        index, _ = draw((4, 5), 5, CPU)
        assert len(index) == 5
        counts[index[:, 0], index[:, 1]] += 1
    assert (counts - 500).abs().max() < 90


def test_error_is_that_of_what_is_real():
    truth = torch.zeros(3, 2, 2)
    sound = (torch.tensor([[1.0, 1.0], [3.0, 3.0]]).expand(3, -1, -1), truth, torch.zeros(3, 2, 2, dtype=torch.bool))
    sound[2][0] = True
    sound[2][1, 0] = True
    picture = (torch.full((3, 2, 2), 2.0), truth, torch.zeros(3, 2, 2, dtype=torch.bool))
    picture[2][0] = True
    torch.testing.assert_close(mean_error({"audio": sound, "image": picture}), torch.tensor([(5 + 4) / 2, 1.0, 0.0]))
