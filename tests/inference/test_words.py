"""Words found again in the symbols of every kind of tokeniser."""

import pytest

from mm_fairseq.inference.words import words_of
from mm_fairseq.media.text import Characters, SentencePiece, Words, train_tokenizer

TEXT = "How dare you!  I don't   know, really..."
TOKENIZERS = {"words": Words().encode, "chars": Characters().encode}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "text.model"
    path.write_bytes(train_tokenizer("sentencepiece", [TEXT, "dare to know really how", "안녕하세요 여러분"], 60))
    return SentencePiece(path).encode


def check(text, encode, expected):
    found, left = words_of(text, encode, 1000)
    assert left == 0
    assert [word.text for word in found] == expected
    assert [word.first for word in found] == [0, *(word.end for word in found[:-1])]
    assert found[-1].end == len(encode(text))
    return found


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_are_as_written_and_have_all_symbols(name):
    found = check(TEXT, TOKENIZERS[name], ["How", "dare", "you!", "I", "don't", "know,", "really..."])
    if name == "words":
        assert [word.end - word.first for word in found] == [1, 1, 2, 1, 1, 2, 4]


def test_pieces_belong_to_their_words(pieces):
    found = check(TEXT, pieces, ["How", "dare", "you!", "I", "don't", "know,", "really..."])
    symbols = pieces(TEXT)
    for word in found:
        assert "".join(symbols[word.first : word.end]).replace("▁", "") == word.text


def test_scripts_without_spaces_go_by_characters_and_korean_by_words(pieces):
    check("我很好。", Characters().encode, ["我", "很", "好", "。"])
    check("ก็ดี", list, ["ก็", "ดี"])
    check("안녕하세요 여러분", pieces, ["안녕하세요", "여러분"])


def test_words_that_a_tokeniser_joins_stay_together():
    check("in New York now", lambda text: text.replace("New York", "New_York").split(), ["in", "New York", "now"])


def test_what_the_model_did_not_read_is_left_out():
    found, left = words_of("one two, three four", Words().encode, 2)
    assert [tuple(word) for word in found] == [("one", 0, 1), ("two,", 1, 2)]
    assert left == 2
    assert words_of("one", Words().encode, 0) == ([], 1)
    assert words_of("  ", Words().encode, 5) == ([], 0)


def test_long_texts_are_not_gone_through_beyond_what_is_read():
    asked = []
    words_of("word " * 20000, lambda text: asked.append(text) or text.split(), 10)
    assert len(asked) < 15
