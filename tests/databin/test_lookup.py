"""Rows and labels out of files against those of the whole manifest."""

import dataclasses
import json
import logging
import os
import pickle
import shutil

import numpy as np
import pytest
from databin_factory import EVERY_KIND, write_data_bin

from mm_fairseq.databin import DataBin, Ids, ParsedLabels, write_lookup
from mm_fairseq.databin.labels import StoredLabels
from mm_fairseq.databin.lookup import ABOUT, StoredManifest
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import Target, kind_of

ORDER = np.array([7, 0, 7, 3, 5, 4, 6])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data_bin(tmp_path_factory.mktemp("data") / "data-bin", per_class=2, frame_size=8, every_kind=True)


@pytest.fixture
def own(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "data-bin")


def test_rows_are_those_of_the_manifest(folder):
    stored, whole = DataBin(folder).manifest, Manifest.read(folder / "manifest.tsv")
    assert isinstance(stored, StoredManifest)
    assert (stored.root, stored.extra, len(stored)) == (whole.root, whole.extra, 8)
    rows = stored.utterances
    assert list(rows) == whole.utterances == [rows[row] for row in range(8)]
    assert rows[2:5] == whole.utterances[2:5]
    assert rows[-1] == whole.utterances[-1]
    assert rows[np.int64(3)] == pickle.loads(pickle.dumps(rows))[3] == whole.utterances[3]
    assert Ids(rows)[3] == "utt003"
    assert Ids(rows)[:2] == list(Ids(rows))[:2] == ["utt000", "utt001"]
    with pytest.raises(IndexError):
        rows[8]


def test_any_text_is_read_again(tmp_path):
    rows = [Utterance(f"u{n}", text=text) for n, text in enumerate(["", "Ünï\u2028code\x85", "日本語", "x" * 5000])]
    Manifest(tmp_path, [], rows).write(tmp_path / "manifest.tsv")
    write_lookup(tmp_path, [], rows)
    assert list(DataBin(tmp_path).manifest.utterances) == rows
    assert [DataBin(tmp_path).manifest.utterances[row] for row in (3, 1)] == [rows[3], rows[1]]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("target", EVERY_KIND, ids=lambda target: target.kind)
def test_labels_are_those_of_the_manifest(folder, target, soft):
    data, kind = DataBin(folder), kind_of(target, soft)
    stored, parsed = data.labels(kind), ParsedLabels(kind, data.manifest.utterances)
    assert isinstance(stored, StoredLabels)
    stored.check(ORDER)
    for found, expected in ((stored.truths, parsed.truths), (stored.goals, parsed.goals)):
        np.testing.assert_array_equal(found(ORDER).astype(np.float32), expected(ORDER).astype(np.float32))
    assert [kind.label(truth) for truth in stored.truths(ORDER)] == [kind.label(kind.encode(text)) for text in (
        data.manifest.utterances[int(row)].labels[target.name] for row in ORDER
    )]  # fmt: skip
    assert kind.collate(stored.goals(ORDER)).dtype == kind.collate(list(parsed.goals(ORDER))).dtype


def test_labels_take_few_bytes(tmp_path):
    rows = [Utterance("a", labels={"few": "c1", "many": "c299", "set": "c3"})]
    classes = tuple(f"c{number}" for number in range(300))
    targets = [Target("few", "single", classes[:128]), Target("many", "single", classes)]
    targets.append(Target("set", "multilabel", classes))
    Manifest(tmp_path, ["few", "many", "set"], rows).write(tmp_path / "manifest.tsv")
    write_lookup(tmp_path, targets, rows)
    data = DataBin(tmp_path)
    assert [np.load(tmp_path / f"labels/{target.name}.npy").dtype.name for target in targets] == [
        *("int8", "int16", "int8")
    ]
    zero = np.array([0])
    assert [int(data.labels(kind_of(target)).truths(zero).argmax(-1).ravel()[0]) for target in targets[2:]] == [3]
    assert [int(data.labels(kind_of(target)).truths(zero)[0]) for target in targets[:2]] == [1, 299]


@pytest.mark.parametrize(
    "change",
    [
        lambda target: dataclasses.replace(target, classes=(*target.classes[::-1], "fru")),
        lambda target: dataclasses.replace(target, kind="multilabel", votes=""),
    ],
)
def test_another_form_of_a_target_is_read_from_the_manifest(folder, change):
    kind = kind_of(change(EVERY_KIND[0]))
    labels = DataBin(folder).labels(kind)
    assert isinstance(labels, ParsedLabels)
    assert [kind.label(truth) for truth in labels.truths(np.array([1, 2]))] in (["sad", "ang"], [["sad"], ["ang"]])


def test_a_class_that_the_kind_lacks_names_the_utterance(folder):
    kind = kind_of(Target("emotion", "single", ("neu", "sad", "ang")))
    with pytest.raises(MMFairseqError, match=r"utterance 'utt003': label 'hap'.*neu, sad, ang"):
        DataBin(folder).labels(kind).check(np.arange(8))


def test_a_changed_manifest_is_read_instead(own, caplog):
    path = own / "manifest.tsv"
    path.write_text(path.read_text().replace("\thap", "\tneu"))  # of equal length
    data = DataBin(own)
    with caplog.at_level(logging.WARNING):
        assert isinstance(data.manifest, Manifest)
    assert "manifest.tsv: changed since it was binarized" in caplog.text
    assert data.labels(kind_of(EVERY_KIND[0])).truths(np.array([3]))[0] == 0


def test_a_copied_one_is_looked_at_and_believed(own):
    os.utime(own / "manifest.tsv")
    os.utime(own / ABOUT, (0, 0))
    assert isinstance(DataBin(own).manifest, StoredManifest)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"manifest": {}, "rows": 8, "targets": []}'])
def test_without_it_all_is_read(own, content):
    path = own / ABOUT
    path.unlink() if content is None else path.write_text(content)
    assert isinstance(DataBin(own).manifest, Manifest)
    about = {"manifest": {"bytes": 1, "crc32": 0}, "rows": 8, "targets": []}
    path.write_text(json.dumps(about))
    assert isinstance(DataBin(own).manifest, Manifest)


def test_a_manifest_cut_while_it_is_open_is_named(own):
    rows = DataBin(own).manifest.utterances
    assert rows[0].id == "utt000"
    path = own / "manifest.tsv"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(MMFairseqError, match=r"manifest\.tsv: cut short since it was opened"):
        rows[7]
    path.write_bytes(b"x" * 4000)
    with pytest.raises(MMFairseqError, match=r"manifest\.tsv:5: not the row that rows\.npy knows"):
        rows[2]


def test_bytes_depend_on_the_content_alone(own):
    files = [ABOUT, "rows.npy", "labels/emotion.npy", "labels/emotion.votes.npy"]
    before = {name: (own / name).read_bytes() for name in files}
    write_lookup(own, EVERY_KIND, Manifest.read(own / "manifest.tsv").utterances)
    assert {name: (own / name).read_bytes() for name in files} == before


def test_a_manifest_of_another_data_bin_is_not_read(own, tmp_path):
    rows = DataBin(own).manifest.utterances
    sent = pickle.dumps(rows)
    shutil.copyfile(own / "manifest.tsv", tmp_path / "other")
    (tmp_path / "other").replace(own / "manifest.tsv")
    for read in (lambda: rows[0], lambda: list(rows), lambda: pickle.loads(sent)[3:5]):
        with pytest.raises(MMFairseqError, match=r"manifest\.tsv: changed since it was opened"):
            read()
    assert DataBin(own).manifest.utterances[0].id == "utt000"


def test_labels_of_another_data_bin_are_not_read(own, folder):
    """What a worker sees that starts when the data-bin was binarized anew."""
    kind = kind_of(EVERY_KIND[0])
    labels = DataBin(own).labels(kind)
    assert isinstance(labels, StoredLabels)
    sent = pickle.dumps(labels)
    own.rename(own.with_name("old"))
    shutil.copytree(folder, own)
    with pytest.raises(MMFairseqError, match=r"labels/.*: changed since it was opened"):
        pickle.loads(sent).truths(ORDER)
    assert len(DataBin(own).labels(kind).truths(ORDER)) == len(ORDER)
