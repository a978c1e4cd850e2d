import numpy as np
import pytest

from mm_fairseq.toy.cues import Cue
from mm_fairseq.toy.sentences import every_word, sentence


def _words(cue):
    rng = np.random.default_rng(0)
    text = " ".join(sentence(cue, rng) for _ in range(200)).lower()
    return {word.strip(".,!?") for word in text.split()}


@pytest.mark.parametrize("detail", [-1, 0, 1])
def test_words_of_the_pair_are_never_shared(detail):
    good, bad = _words(Cue(1, detail)), _words(Cue(-1, detail))
    assert {"good", "fine", "right", "easy"} <= good - bad
    assert {"bad", "wrong", "broken", "hard"} <= bad - good


@pytest.mark.parametrize("pair", [-1, 1])
def test_a_hidden_detail_uses_words_of_neither(pair):
    hidden, minus, plus = (_words(Cue(pair, detail)) for detail in (0, -1, 1))
    assert "told" in hidden - minus - plus
    assert minus - plus - hidden
    assert plus - minus - hidden


def test_tokenizer_text_has_every_word():
    said = {word.strip(".,!?").lower() for line in every_word() for word in line.split()}
    assert all(_words(Cue(pair, detail)) <= said for pair in (-1, 1) for detail in (-1, 0, 1))
