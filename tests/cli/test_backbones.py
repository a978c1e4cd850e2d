"""`mm-fairseq backbones` from the command line."""

import pytest

from mm_fairseq.backbones import BACKBONES
from mm_fairseq.cli import main


def test_lists_every_backbone_under_its_modality(capsys):
    assert main(["backbones"]) == 0
    out = capsys.readouterr().out
    blocks = dict(zip(("audio", "text", "video", "any"), out.split("\n\n")[1:], strict=True))
    for name in BACKBONES.names():
        assert f"\n  {name}\n" in blocks[BACKBONES.get(name).modality]
    assert "n_mfcc" in blocks["audio"]


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ("wav2vec:{}/wav2vec/wav2vec.pt", ["64", "10 ms", "465 samples at 16 kHz"]),
        ("roberta:{}/roberta,layer=weighted", ["of 3 states", "128 tokens"]),
        ("fabnet:{}/fabnet/fabnet.pt", ["256", "never encoded", "4,887,904"]),
        ("mfcc:n_mfcc=13", ["13", "none"]),
        ("embedding:dim=7", ["7"]),
    ],
)
def test_tries_one(checkpoints, spec, facts, capsys):
    assert main(["backbones", spec.format(checkpoints)]) == 0
    out = capsys.readouterr().out
    assert "loads" in out
    for fact in facts:
        assert fact in out


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("wav2vec:absent.pt", "absent.pt: no such checkpoint"),
        ("wav2vec:{}/fabnet/fabnet.pt", "fabnet.pt"),
        ("nothing:x", "unknown backbone 'nothing'"),
        ("roberta:{}/roberta,layer=9", "layer=9"),
    ],
)
def test_faults_are_one_line(checkpoints, spec, words, capsys):
    assert main(["backbones", spec.format(checkpoints)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
