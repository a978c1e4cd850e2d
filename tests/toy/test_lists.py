import hashlib

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.video import read_frames
from mm_fairseq.toy import lists


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "lists"
    lists.write(out, lists.MINIMUM, seed=3)
    return out


def _hashes(folder):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()]


def test_the_same_seed_gives_the_same_bytes(corpus, tmp_path):
    lists.write(tmp_path / "a", lists.MINIMUM, seed=3)
    assert _hashes(tmp_path / "a") == _hashes(corpus)


def test_the_lists_go_together(corpus):
    sizes = {}
    for split in lists.SIZES:
        of_letter = {}
        for letter, (folder, suffix) in lists.FOLDERS.items():
            root, *lines = (corpus / f"{split}_{letter}.tsv").read_text().splitlines()
            assert root == folder
            files = [line.split("\t")[0] for line in lines]
            assert all((corpus / folder / file).is_file() for file in files)
            of_letter[letter] = [file.removesuffix(suffix) for file in files]
        assert of_letter["a"] == of_letter["t"] == of_letter["v"]
        header, *rows = (corpus / f"label_file_{split}.csv").read_text().splitlines()
        labels = dict(row.split(",") for row in rows)
        assert header == "FileName,Emotion"
        assert sorted(labels) == sorted(of_letter["a"])
        assert {"exc": "hap"}.get(labels[of_letter["a"][2]], labels[of_letter["a"][2]]) == "hap"
        sizes[split] = len(labels)
    assert sizes == {"train": 12, "valid": 4, "test": 4}


def test_sound_and_picture_have_one_length(corpus):
    for path in sorted((corpus / "video").iterdir())[::6]:
        sound = len(read_audio(corpus / "audio" / f"{path.stem}.wav")) / 16_000
        assert abs(sound - len(read_frames(path, fps=10)) / 10) < 0.15


def test_too_few_and_a_taken_folder_are_refused(corpus, tmp_path):
    with pytest.raises(MMFairseqError, match="at least 20"):
        lists.write(tmp_path / "a", 19, seed=1)
    with pytest.raises(MMFairseqError, match="holds other files"):
        lists.write(corpus, 20, seed=1)
