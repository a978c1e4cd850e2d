"""Log-mel energies against torchaudio."""

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from mm_fairseq.backbones import build
from mm_fairseq.errors import MMFairseqError


def test_equals_torchaudio():
    x = 0.3 * torch.randn(2, 5000)
    mel = MelSpectrogram(16000, n_fft=400, hop_length=160, n_mels=80, center=False)
    expected = ((mel(x) + 1e-6).log().transpose(1, 2) + 5) / 4
    model = build({"name": "logmel", "args": {}})
    out = model(x, torch.zeros(2, 5000, dtype=torch.bool))
    assert out.x.shape == (2, 1 + (5000 - 400) // 160, 80)
    torch.testing.assert_close(out.x, expected, atol=1e-6, rtol=1e-6)
    assert model.rate_hz == 100


@pytest.mark.parametrize("args", [{"hop": 0}, {"n_mels": 0}, {"n_fft": -400}, {"n_mels": "many"}])
def test_arguments_that_do_not_fit(args):
    with pytest.raises(MMFairseqError, match="logmel"):
        build({"name": "logmel", "args": args})
