"""The toys of EmoBox, Kaldi and wav2vec: their sound by soundfile, the same bytes for the same seed."""

import hashlib
import json
from collections import Counter

import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import emobox, kaldi, speech_lists, wav2vec_tsv

TOYS = pytest.mark.parametrize("toy", [emobox, kaldi, wav2vec_tsv])


def sums(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@TOYS
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, toy):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        toy.write(tmp_path / name, toy.MINIMUM, seed)
    first, second, third = (sums(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == third.keys()
    assert first != third


@TOYS
def test_arguments_that_are_not_possible(tmp_path, toy):
    with pytest.raises(MMFairseqError, match=r"--utterances 31: 8 speakers and four emotions need 32 or more"):
        toy.write(tmp_path / "a", 31, seed=1)
    (tmp_path / "x").touch()
    with pytest.raises(MMFairseqError, match=r"holds other files already"):
        toy.write(tmp_path, 32, seed=1)


def test_speakers_and_emotions_are_balanced(tmp_path):
    said = list(speech_lists.begin(tmp_path / "a", 64, seed=1))
    assert len(said) == 64
    assert set(Counter((each.speaker, each.emotion) for each in said).values()) == {2}


def test_emobox_tells_the_lengths(tmp_path):
    emobox.write(tmp_path / "a", 32, seed=1)
    for line in (tmp_path / "a/data/toy/toy.jsonl").read_text().splitlines()[::8]:
        record = json.loads(line)
        about = soundfile.info(tmp_path / "a" / record["wav"])
        assert (about.frames, about.samplerate) == (record["num_frame"], record["sample_rate"])
        assert record["length"] == pytest.approx(about.duration)
    tested = [
        json.loads(line)["key"]
        for fold in range(1, 5)
        for line in (tmp_path / f"a/data/toy/fold_{fold}/toy_test_fold_{fold}.jsonl").read_text().splitlines()
    ]
    assert len(tested) == len(set(tested)) == 32


def test_wav2vec_tells_the_samples(tmp_path):
    wav2vec_tsv.write(tmp_path / "a", 32, seed=1)
    folder, *lines = (tmp_path / "a/test.tsv").read_text().splitlines()
    for line in lines:
        path, samples = line.split("\t")
        assert soundfile.info(tmp_path / "a" / folder / path).frames == int(samples)
    letters = (tmp_path / "a/test.ltr").read_text().splitlines()
    words = (tmp_path / "a/test.wrd").read_text().splitlines()
    assert [line.replace(" ", "").replace("|", " ").strip() for line in letters] == words
