"""What --stress means, and the noise that it brings."""

import numpy as np
import pytest

from mm_fairseq.datasets import Limits
from mm_fairseq.datasets.stress import Stress, parse_stresses, stressed
from mm_fairseq.errors import MMFairseqError


@pytest.mark.parametrize(
    ("name", "expected", "raw"),
    [
        ("noise=10", Stress("noise=10", snr=10), ("audio",)),
        ("noise=-2.5", Stress("noise=-2.5", snr=-2.5), ("audio",)),
        ("text=text_asr", Stress("text=text_asr", text="text_asr"), ("text",)),
        ("without=audio", Stress("without=audio", without=("audio",)), ()),
        ("without=video+audio", Stress("without=video+audio", without=("audio", "video")), ()),
    ],
)
def test_what_is_written(name, expected, raw):
    assert Stress.parse(name) == expected
    assert expected.raw == raw
    assert stressed(f"test@{name}") == ("test", expected)


def test_a_split_alone():
    assert stressed("test") == ("test", Stress())
    assert Stress().raw == ()


def test_a_list():
    found = parse_stresses("noise=20, noise=0,without=text")
    assert [each.name for each in found] == ["noise=20", "noise=0", "without=text"]
    assert parse_stresses("") == []


WRONG = ("", "noise", "noise=", "noise=loud", "noise=nan", "noise=inf", "text=", "text=audio", "text=../x")
WRONG += ("without=smell", "without=", "rain=3", "noise=3@noise=3")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_known(name):
    with pytest.raises(MMFairseqError, match=r"--stress .*allowed: noise=DECIBELS, text=text_asr, without=MODALITY"):
        stressed(f"test@{name}")


def test_noise_is_that_of_the_utterance():
    x = (0.1 * np.sin(np.arange(8000) / 5)).astype(np.float32)
    stress = Stress.parse("noise=10")
    first = stress.item("audio", x, "utt1", 1, Limits())
    ratio = np.square(x).mean() / np.square(first - x).mean()
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.1)
    assert np.array_equal(first, stress.item("audio", x, "utt1", 2, Limits()))
    assert not np.array_equal(first, stress.item("audio", x, "utt2", 1, Limits()))
    loud = Stress.parse("noise=-20").item("audio", x, "utt1", 1, Limits())
    assert np.abs(loud).max() == pytest.approx(1)  # at full scale, not clipped
    assert stress.item("text", np.arange(3), "utt1", 1, Limits()).tolist() == [0, 1, 2]
