"""Windows: where they begin, what is in them, and that sound and pictures are of the same time."""

import pytest
import torch
import torchaudio

from mm_fairseq.modules.av_windows import cut, resampled, starts


def test_evaluation_takes_evenly_spaced_windows_once_each():
    rows, begin = starts(torch.tensor([20, 5, 4, 0, 6]), 4, 3, draw=False)
    assert rows.tolist() == [0, 0, 0, 1, 1, 2, 3, 4, 4, 4]
    assert begin.tolist() == [0, 8, 16, 0, 1, 0, 0, 0, 1, 2]
    assert starts(torch.tensor([20]), 4, 1, draw=False)[1].tolist() == [8]


def test_training_draws_every_window_as_often():
    torch.manual_seed(0)
    rows, begin = starts(torch.tensor([7] * 4000 + [2]), 4, 9, draw=True)
    assert rows.tolist() == list(range(4001))
    assert begin[-1] == 0
    counts = torch.bincount(begin[:-1])
    assert len(counts) == 4
    assert (counts - 1000).abs().max() < 120


def test_frames_beyond_the_end_are_zeros_and_masked():
    x = torch.arange(1.0, 13.0).view(1, 6, 2).expand(3, -1, -1)
    out, mask = cut(x, torch.tensor([6, 4, 0]), torch.tensor([1, 3, 0]), 3)
    assert out[..., 0].tolist() == [[3, 5, 7], [7, 0, 0], [0, 0, 0]]
    assert mask.tolist() == [[False] * 3, [False, True, True], [True] * 3]


@pytest.mark.parametrize("rate", [48000, 24000, 8000, 11025])
def test_a_whole_clip_is_resampled_as_torchaudio_does(rate):
    x = torch.randn(2, 800, dtype=torch.float64)  # of less precision are torchaudio's own numbers
    expected = torchaudio.functional.resample(x, 16000, rate)
    out, mask = resampled(x, torch.tensor([800, 800]), torch.zeros(2), expected.size(1), rate, 16000)
    assert not mask.any()
    torch.testing.assert_close(out, expected, atol=1e-9, rtol=1e-9)


def test_a_window_is_a_part_of_the_resampled_clip():
    x = torch.randn(1, 3200, dtype=torch.float64)
    expected = torchaudio.functional.resample(x, 16000, 48000)
    out, _ = resampled(x, torch.tensor([3200]), torch.tensor([0.04], dtype=torch.float64), 1920, 48000, 16000)
    torch.testing.assert_close(out, expected[:, 1920:3840], atol=1e-9, rtol=1e-9)


def test_where_the_padding_of_the_batch_ends_does_not_matter():
    x = torch.randn(1, 1000)
    alone, mask = resampled(x, torch.tensor([1000]), torch.tensor([0.05]), 960, 48000, 16000)
    longer = torch.cat([x, torch.full((1, 700), 9.0)], 1)
    beside, again = resampled(longer, torch.tensor([1000]), torch.tensor([0.05]), 960, 48000, 16000)
    assert torch.equal(alone, beside)
    assert torch.equal(mask, again)
    assert (~mask).sum() == 3 * 200
    assert (alone[mask] == 0).all()


def test_nothing_is_nothing():
    out, mask = resampled(torch.randn(1, 10), torch.tensor([0]), torch.zeros(1), 30, 48000, 16000)
    assert mask.all()
    assert (out == 0).all()


def test_windows_may_begin_between_samples():
    x = torch.sin(0.3 * torch.arange(400.0, dtype=torch.float64)).expand(2, -1)
    begin = torch.tensor([100 / 16000, 100.5 / 16000], dtype=torch.float64)
    out, _ = resampled(x, torch.tensor([400, 400]), begin, 200, 16000, 16000)
    expected = torch.sin(0.3 * (torch.arange(200) + torch.tensor([[100.0], [100.5]])))
    torch.testing.assert_close(out, expected.double(), atol=0.02, rtol=0)
