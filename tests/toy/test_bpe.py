import json

from fairseq.data import Dictionary
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

from mm_fairseq.toy.bpe import write_bpe

LINES = ["low low low low low lower lower newest newest newest newest newest newest", "widest widest widest!"]


def test_fairseq_reads_it_and_any_text_survives(tmp_path):
    write_bpe(tmp_path, LINES, merges=10)
    coder = get_encoder(str(tmp_path / "encoder.json"), str(tmp_path / "vocab.bpe"))
    for text in (*LINES, "na\xefve \u4f60\u597d\n  x"):
        assert coder.decode(coder.encode(text)) == text
    assert len(coder.encode(LINES[0])) < len(LINES[0]) / 3


def test_the_first_merges_are_the_most_frequent_pairs(tmp_path):
    write_bpe(tmp_path, LINES, merges=2)
    assert (tmp_path / "vocab.bpe").read_text().splitlines() == ["#version: 0.2", "e s", "es t"]


def test_learning_stops_when_every_word_is_whole(tmp_path):
    write_bpe(tmp_path, ["ab ab"], merges=50)
    assert len((tmp_path / "vocab.bpe").read_text().splitlines()) == 3


def test_dictionary_lists_all_ids_the_frequent_first(tmp_path):
    write_bpe(tmp_path, LINES, merges=2)
    vocabulary = json.loads((tmp_path / "encoder.json").read_text())
    assert vocabulary["<|endoftext|>"] == len(vocabulary) - 1 == 258
    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    listed = [dictionary[i] for i in range(4, len(dictionary))]
    assert {f"{index}" for index in vocabulary.values()} == set(listed[:-3])
    assert listed[-3:] == ["madeupword0000", "madeupword0001", "madeupword0002"]
    assert dictionary.count[dictionary.index(str(vocabulary["est"]))] == 9  # six "newest" and three "widest"
    counts = [dictionary.count[i] for i in range(4, len(dictionary))]
    assert counts == sorted(counts, reverse=True)
