"""The data-bin as a whole: its place of protocols and folds, and what is said of a bad one."""

import json

import pytest
from databin_factory import write_data_bin

from mm_fairseq.databin import DataBin
from mm_fairseq.errors import MMFairseqError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data_bin(tmp_path_factory.mktemp("data") / "data-bin", per_class=3, frame_size=16, folds=2)


def test_protocols_folds_and_splits(folder):
    data = DataBin(folder)
    assert data.protocols == {"official": ["1", "2"]}
    assert data.place() == data.place("official", "1") == ("official", "1")
    assert data.splits(data.place(fold="2")) == ["test", "train", "valid"]
    first, second = (data.split(data.place(fold=fold), "valid")[:] for fold in "12")
    assert first.tolist() == list(range(1, 12, 3))
    assert not set(first) & set(second)
    assert len(data.manifest) == 12


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda data: data.place("other"), "--protocol 'other'; .* has official"),
        (lambda data: data.place(fold="3"), "--fold '3'; protocol official has 1, 2"),
        (lambda data: data.split(data.place(), "dev"), "no split 'dev' in official, fold 1; it has test, train, valid"),
    ],
)
def test_what_is_not_there_is_named(folder, ask, words):
    with pytest.raises(MMFairseqError, match=words):
        ask(DataBin(folder))


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (None, "no meta.json"),
        ("{", "damaged"),
        ("[]", "damaged"),
        (json.dumps({"complete": False}), "--resume"),
        (json.dumps({"complete": True, "protocols": []}), "no utterance belongs to a split"),
    ],
)
def test_a_bad_folder_is_named(tmp_path, meta, words):
    if meta is not None:
        (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(MMFairseqError, match=words):
        DataBin(tmp_path).place()


def test_rows_are_numbers_of_the_manifest(folder):
    data = DataBin(folder)
    rows = data.split(data.place(), "train")[:]
    assert rows.dtype.kind == "i"
    assert [data.manifest.utterances[row].id for row in rows][:2] == ["utt000", "utt001"]
