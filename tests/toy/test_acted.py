import numpy as np
import pytest

from mm_fairseq.toy import acted, faces, speech
from mm_fairseq.toy.cues import Cue


def played(voice, face, seed=3, seconds=1.0, letter="F"):
    rng = np.random.default_rng(seed)
    return acted.perform(acted.actor(letter, rng), voice, face, seconds, 30, (320, 240), rng)


def test_sound_and_picture_are_of_one_length():
    sound, frames = played(Cue(1, 1), Cue(1, 1))
    assert sound.dtype == np.int16
    assert len(sound) == round((1.0 + 2 * acted.SILENCE) * speech.SAMPLE_RATE)
    assert abs(len(frames) / 30 - len(sound) / speech.SAMPLE_RATE) < 1 / 30
    assert {frame.shape for frame in frames} == {(240, 320, 3)}
    quiet = round(acted.SILENCE * speech.SAMPLE_RATE)
    assert np.abs(sound[:quiet]).max() < 0.05 * np.abs(sound).max()


@pytest.mark.parametrize("letter", ["F", "M"])
@pytest.mark.parametrize("seed", range(4))
def test_a_voice_shows_both_bits(letter, seed):
    loudness, breath = {}, {}
    for pair in (1, -1):
        for detail in (1, -1):
            sound = played(Cue(pair, detail), Cue(1, 1), seed, letter=letter)[0] / 32768
            power = np.abs(np.fft.rfft(sound)) ** 2
            loudness[pair, detail] = sound.std()
            breath[pair, detail] = power[len(power) // 2 :].sum() / power.sum()
    assert min(loudness[1, detail] for detail in (1, -1)) > 2 * max(loudness[-1, detail] for detail in (1, -1))
    assert min(breath[pair, -1] for pair in (1, -1)) > 3 * max(breath[pair, 1] for pair in (1, -1))


def test_a_face_shows_both_bits_and_moves():
    def shown(pair, detail):
        return np.stack(played(Cue(1, 1), Cue(pair, detail))[1]).astype(float)

    calm = shown(-1, -1)
    for pair, detail in ((1, -1), (-1, 1)):
        assert np.abs(shown(pair, detail).mean(0) - calm.mean(0)).max() > 40
    assert calm.std(0).max() > 20


def test_the_face_is_in_the_middle():
    middle = acted._TOP + faces.MARGIN + acted.HEIGHT // 2
    assert middle == faces.CENTRE[1]


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_at_another_rate(rate):
    time = np.arange(8000) / speech.SAMPLE_RATE
    sound = np.round(9000 * np.sin(2 * np.pi * 400 * time)).astype(np.int16)
    other = acted.at_rate(sound, rate)
    assert len(other) == rate // 2
    assert other.dtype == np.int16
    assert abs(np.argmax(np.abs(np.fft.rfft(other))) * 2 - 400) <= 2
    assert np.abs(other).max() == pytest.approx(9000, rel=0.15)
