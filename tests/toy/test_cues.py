from itertools import combinations

import numpy as np
import pytest

from mm_fairseq.toy import cues


@pytest.mark.parametrize("modality", cues.MODALITIES)
def test_one_modality_reaches_no_more_than_65_percent(modality):
    assert cues.ceiling((modality,)) == pytest.approx(0.65)


@pytest.mark.parametrize("pair", list(combinations(cues.MODALITIES, 2)))
def test_two_modalities_can_tell_everything(pair):
    assert cues.ceiling(pair) == pytest.approx(1)


def test_nothing_seen_is_a_guess():
    assert cues.ceiling(()) == pytest.approx(1 / len(cues.CLASSES))


@pytest.mark.parametrize("modality", cues.MODALITIES)
def test_drawn_cues_reach_the_ceiling_and_do_not_pass_it(modality):
    rng = np.random.default_rng(0)
    drawn = [(emotion, cues.draw(emotion, rng)[modality]) for emotion in cues.CLASSES for _ in range(2000)]
    seen = {cue: [emotion for emotion, other in drawn if other == cue] for cue in {cue for _, cue in drawn}}
    right = sum(max(map(emotions.count, set(emotions))) for emotions in seen.values())
    assert right / len(drawn) == pytest.approx(0.65, abs=0.02)
    assert len(seen) == 6
