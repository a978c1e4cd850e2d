"""Spectral backbones at rates below that of the data: frames, lengths and independence of the batch."""

import pytest
import torch
from torchaudio.functional import resample
from torchaudio.transforms import MFCC

from mm_fairseq.backbones import build
from mm_fairseq.backbones.base import feature_seq
from mm_fairseq.errors import MMFairseqError

NAMES = ("mfcc", "logmel")


def features(model, rows, pad=0.0):
    """Rows of samples in one batch, with `pad` behind the shorter ones."""
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    mask = torch.arange(x.size(1)) >= torch.tensor([len(row) for row in rows])[:, None]
    return model(x, mask)


def test_mfcc_is_that_of_the_resampled_audio():
    x = 0.3 * torch.randn(1, 12345)
    mel = {"n_fft": 400, "hop_length": 200, "n_mels": 64, "center": False}
    expected = MFCC(8000, 40, log_mels=True, melkwargs=mel)(resample(x, 16000, 8000)).transpose(1, 2)
    model = build({"name": "mfcc", "args": {"rate": 8000, "hop": 200}})
    out = model(x, torch.zeros(1, 12345, dtype=torch.bool))
    assert out.x.shape == (1, 1 + (6173 - 400) // 200, 40)
    torch.testing.assert_close(out.x, model.standardised(expected), atol=1e-5, rtol=1e-5)
    assert model.rate_hz == 40


@pytest.mark.parametrize("rate", [8000, 11200, 12800, 4000])
@pytest.mark.parametrize("name", NAMES)
def test_alone_equals_batched_and_lengths_are_declared(name, rate):
    torch.manual_seed(0)
    model = build({"name": name, "args": {"rate": rate, "n_fft": 256, "hop": 112}})
    shortest, longest = model.receptive_field, model.longest_input(5)
    lengths = (9001, shortest, shortest - 1, longest, longest + model.stride, 1)
    rows = [0.3 * torch.randn(length) for length in lengths]
    batch = features(model, rows, pad=7.0)
    counts = (~batch.padding_mask).sum(1).tolist()
    assert counts[1:] == [1, 0, 5, 6, 0]
    for row, count in enumerate(counts):
        alone = features(model, rows[row : row + 1])
        assert (~alone.padding_mask).sum() == count
        torch.testing.assert_close(batch.x[row, :count], alone.x[0, :count], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_of_the_data_changes_nothing(name):
    x, mask = 0.3 * torch.randn(1, 4000), torch.zeros(1, 4000, dtype=torch.bool)
    plain = build({"name": name, "args": {}})
    out = plain(x, mask)
    features = plain.standardised(plain.transform(x).transpose(1, 2))
    torch.testing.assert_close(out, feature_seq(features, torch.tensor([features.size(1)])))
    assert plain.resample is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"rate": 0}, "rate=0: a multiple of 100 from 100 to 16000"),
        ({"rate": 44100}, "rate=44100: a multiple"),
        ({"rate": 11025}, "rate=11025: a multiple"),
        ({"rate": 12000}, "hop=160 at rate=12000: no whole number of samples at 16000 Hz"),
    ],
)
def test_bad_rates_are_named(name, args, words):
    with pytest.raises(MMFairseqError, match=words):
        build({"name": name, "args": args})
