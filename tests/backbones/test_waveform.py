"""waveform and pixels: what comes in goes out."""

import numpy as np
import pytest
import torch

from mm_fairseq.backbones import BACKBONES, Spec, build
from mm_fairseq.errors import MMFairseqError


def test_samples_are_as_they_were_and_zeros_behind():
    x, mask = torch.randn(2, 6), torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    out = build({"name": "waveform", "args": {}})(x, mask)
    assert out.x.shape == (2, 6, 1)
    assert torch.equal(out.x[0, :, 0], x[0])
    assert torch.equal(out.x[1, :, 0], torch.cat([x[1, :4], torch.zeros(2)]))
    assert torch.equal(out.padding_mask, mask)


def test_pictures_are_planes_of_red_green_and_blue_between_0_and_1():
    frames = torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8)
    frames[0, 1, 2, 3, 1] = 255
    out = build({"name": "pixels", "args": {"size": 4}})(frames, torch.zeros(1, 2, dtype=torch.bool))
    assert out.x.shape == (1, 2, 48)
    assert out.x.nonzero().tolist() == [[0, 1, 2 * 16 + 3 * 4 + 1]]
    assert out.x.max() == 1


def test_rates_are_those_of_the_data():
    assert build({"name": "waveform", "args": {}}).rate_hz == 16000
    assert build({"name": "pixels", "args": {"fps": 20}}).rate_hz == 20


def test_another_frame_size_is_told_with_the_option_that_makes_it():
    with pytest.raises(MMFairseqError, match=r"are 6x8, .* takes 4x4: .*--frame-size 4"):
        build({"name": "pixels", "args": {"size": 4}})(torch.zeros(1, 1, 3, 6, 8), torch.zeros(1, 1, dtype=torch.bool))


def test_gain_multiplies_samples_and_must_be_positive():
    out = build({"name": "waveform", "args": {"gain": 4}})(torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool))
    assert out.x.flatten().tolist() == [4.0, 4.0, 4.0]
    with pytest.raises(MMFairseqError, match=r"gain=0: above 0"):
        build({"name": "waveform", "args": {"gain": 0}})


@pytest.mark.parametrize("args", [{"size": 0}, {"fps": 0.0}, {"fps": -1.0}])
def test_bad_arguments_are_named(args):
    with pytest.raises(MMFairseqError, match="at least 1 pixel"):
        build({"name": "pixels", "args": args})


@pytest.mark.parametrize("name", ["waveform", "pixels"])
def test_there_is_nothing_to_extract(name):
    backbone = BACKBONES.get(name)()
    with pytest.raises(MMFairseqError, match="nothing to extract"):
        backbone.stored(torch.from_numpy(np.zeros((1, 1))), torch.zeros(1, 1, dtype=torch.bool))


def test_options_of_a_specification():
    assert Spec.parse("video", "pixels:size=64,fps=12.5").options == {"size": 64, "fps": 12.5}
