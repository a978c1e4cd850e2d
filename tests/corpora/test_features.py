"""Feature files of MulT and MMSA: what is taken, what is stripped, what is told, and what is refused with its place."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mult_files import COUNTS, FRAMES, arrays_of, check_arrays, mmsa, mult, saved
from pyarrow import parquet

from mm_fairseq.cli import main
from mm_fairseq.corpora.features import SIZES
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest
from mm_fairseq.media.features import read_features
from mm_fairseq.toy import features as toy


@pytest.mark.parametrize("front", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_mult(tmp_path, parse, front, aligned):
    content, real = mult(front, aligned)
    parsed = parse("features", saved(tmp_path, content))
    check_arrays(arrays_of(parsed, tmp_path / "out"), real)
    (target,) = parsed.targets
    assert (target.name, target.kind) == ("sentiment", "regression")
    rows = parsed.manifest.utterances
    assert [row.split for row in rows] == ["train"] * 5 + ["valid"] * 3 + ["test"] * 4
    assert (rows[3].id, rows[3].dialogue, rows[3].text) == ("train1_3_4", "train1", "")
    labels = np.concatenate([content[split]["labels"].reshape(-1) for split in COUNTS])
    assert np.allclose([float(row.labels["sentiment"]) for row in rows], labels, atol=1e-6)
    assert parsed.protocols == {"official": {"1": {s: [r.id for r in rows if r.split == s] for s in COUNTS}}}


def test_iemocap(tmp_path, parse):
    content, _ = mult(emotions=True)
    parsed = parse("features", saved(tmp_path, content))
    (target,) = parsed.targets
    assert (target.kind, target.classes) == ("multilabel", ("neutral", "happy", "sad", "angry"))
    yes = content["train"]["labels"].argmax(-1)  # as MulT reads them
    for row, marks in zip(parsed.manifest.utterances, yes, strict=False):
        assert row.labels["emotion"] == "|".join(np.array(target.classes)[marks > 0]) or (
            not marks.any() and row.labels["emotion"] == "|"
        )
    assert parsed.manifest.utterances[0].id == "train00000"
    content["train"]["labels"] = yes
    content["valid"]["labels"], content["test"]["labels"] = (content[s]["labels"].argmax(-1) for s in ("valid", "test"))
    same = parse("features", saved(tmp_path, content))
    assert same.manifest.utterances == parsed.manifest.utterances


def test_mmsa(tmp_path, parse):
    content, real = mult()
    parsed = parse("features", saved(tmp_path, mmsa(content)), "--single-labels")
    check_arrays(arrays_of(parsed, tmp_path / "out"), real)
    row = parsed.manifest.utterances[3]
    assert (row.id, row.dialogue, row.text) == ("train1_1", "train1", "train says & 3")
    names = ["sentiment", "sentiment_text", "sentiment_audio", "sentiment_video"]
    assert [target.name for target in parsed.targets] == parsed.manifest.extra == names
    assert [row.labels[name] for name in names[1:]] == ["0", "1", "2"]
    plain = parse("features", saved(tmp_path, mmsa(content)))
    assert plain.manifest.extra == ["sentiment"]


def test_lengths_of_the_file_come_first(tmp_path, parse):
    content, _ = mult()
    content = mmsa(content)
    for part in content.values():
        count = len(part["id"])
        part["audio_lengths"], part["vision_lengths"] = [7] * count, np.full(count, 0)
        mask = np.zeros((count, 6))
        mask[:, :5] = 1
        part["text_bert"] = np.stack([mask, mask, 0 * mask], 1)
    found = arrays_of(parse("features", saved(tmp_path, content)), tmp_path / "out")
    for rows in found.values():
        for row, arrays in enumerate(rows):
            assert [len(arrays[name]) for name in ("audio", "text", "video")] == [7, 5, 1], row


def test_aligned_frames_stay_aligned(tmp_path, parse):
    content, real = mult(aligned=True)
    for split, part in content.items():  # the last word has no sound, the first no face
        for row, rows in enumerate(real[split]):
            for x in (part["audio"][row], rows["audio"]):
                x[len(rows["text"]) - 1] = 0
            for x in (part["vision"][row], rows["vision"]):
                x[0] = 0
    check_arrays(arrays_of(parse("features", saved(tmp_path, content)), tmp_path / "out"), real)


def test_one_frame_stays_of_nothing(tmp_path, parse):
    content, _ = mult()
    content["train"]["audio"][2] = 0
    found = arrays_of(parse("features", saved(tmp_path, content)), tmp_path / "out")
    assert found["train"][2]["audio"].tolist() == [[0, 0]]


def test_what_is_not_finite_becomes_0_and_is_told(tmp_path, parse):
    content, real = mult()
    for row, value in ((0, -np.inf), (3, np.nan), (3, np.inf)):
        place = int(value == np.inf)
        content["valid" if row == 0 else "train"]["audio"][row, place, 1] = value
        real["valid" if row == 0 else "train"][row]["audio"][place, 1] = 0
    parsed = parse("features", saved(tmp_path, content))
    check_arrays(arrays_of(parsed, tmp_path / "out"), real)
    assert "train: 2 numbers of audio in 1 utterances were not finite and became 0: rows 3" in parsed.notes
    assert parsed.details == {"not_finite_train_audio": 2, "not_finite_valid_audio": 1}


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("folder", [True, False])
def test_parquet(tmp_path, parse, nested, folder):
    content, real = mult()
    columns = {split: {} for split in COUNTS}
    for split, part in mmsa(content).items():
        rows = {key: [x[key] for x in real[split]] for key in FRAMES}
        own = columns[split]
        for key, arrays in rows.items():
            if nested:
                own[key] = pa.array([x.tolist() for x in arrays], pa.list_(pa.list_(pa.float32())))
            else:
                own[key] = pa.array([x.reshape(-1) for x in arrays], pa.list_(pa.float32()))
                own[f"{key}_shape"] = [list(x.shape) for x in arrays]
        own |= {"id": part["id"], "raw_text": part["raw_text"], "label": part["regression_labels"].astype(float)}
        own["split"] = [split] * len(part["id"])
    tables = {split: pa.table(own) for split, own in columns.items()}
    path = tmp_path / "raw"
    if folder:
        path.mkdir()
        for split, table in tables.items():
            parquet.write_table(table.drop_columns("split"), path / f"{split}.parquet")
    else:
        path = tmp_path / "all.parquet"
        parquet.write_table(pa.concat_tables(tables.values()), path)
    parsed = parse("features", path)
    check_arrays(arrays_of(parsed, tmp_path / "out"), real)
    expected = parse("features", saved(tmp_path, mmsa(content))).manifest.utterances
    assert parsed.manifest.utterances == expected


def by_rows(content, nested):
    """The table of a file's padded arrays."""
    table = {"split": [split for split, count in COUNTS.items() for _ in range(count)]}
    table["labels"] = np.concatenate([part["labels"].reshape(-1) for part in content.values()]).astype(float)
    for key in FRAMES:
        arrays = [x for part in content.values() for x in part[key]]
        if nested:
            table[key] = pa.array([x.tolist() for x in arrays], pa.list_(pa.list_(pa.float32())))
        else:
            table[key] = pa.array([x.reshape(-1) for x in arrays], pa.list_(pa.float32()))
            table[f"{key}_shape"] = [list(x.shape) for x in arrays]
    return table


def test_aligned_frames_stay_aligned_in_every_form(tmp_path, parse):
    content, real = mult(aligned=True)
    for split, part in content.items():  # silence under the last word
        for row, rows in enumerate(real[split]):
            part["audio"][row, len(rows["text"]) - 1] = rows["audio"][-1] = 0
    for form in ("pickle", "nested", "flat"):
        path = tmp_path / f"{form}.parquet"
        if form == "pickle":
            path = saved(tmp_path, content)
        else:
            parquet.write_table(pa.table(by_rows(content, form == "nested")), path)
        check_arrays(arrays_of(parse("features", path), tmp_path / form), real)


@pytest.mark.parametrize("nested", [True, False])
def test_an_array_that_is_missing_is_named(tmp_path, parse, nested):
    table = by_rows(mult()[0], nested)
    table["audio"] = pa.array([None if row == 6 else x for row, x in enumerate(table["audio"].to_pylist())])
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(MMFairseqError, match=r"a\.parquet: split 'valid': row 1: 'audio': no array of numbers"):
        parse("features", tmp_path / "a.parquet")


def test_what_is_left_out_is_told(tmp_path, parse):
    content, _ = mult()
    notes = parse("features", saved(tmp_path, content | {"train_extra": content["train"], "about": "x"})).notes
    assert notes == ["left out, as it is no split train, valid or test: train_extra, about"]
    folder = tmp_path / "raw"
    folder.mkdir()
    table = pa.table(by_rows(content, nested=True)).drop_columns("split")
    for name, first in (("train", 0), ("valid", 5), ("test", 8), ("extra", 0)):
        parquet.write_table(table.slice(first, COUNTS.get(name)), folder / f"{name}.parquet")
    notes = parse("features", folder).notes
    assert notes == ["left out, as it is no split train, valid or test: extra.parquet"]
    del content["test"]["vision"]
    assert parse("features", saved(tmp_path, content)).notes == ["test: no vision, which other splits have"]
    assert not parse("features", saved(tmp_path, content), "--modalities", "text,audio").notes


def test_splits_that_are_no_text(tmp_path, parse):
    table = pd.DataFrame({"split": ["train", ("valid", ("x",))], "text": [np.ones((1, 1))] * 2, "labels": [0.0, 1.0]})
    table.to_pickle(tmp_path / "a.pkl")
    with pytest.raises(MMFairseqError, match=r"row 1: column 'split': 'tuple' is none of train"):
        parse("features", tmp_path / "a.pkl")


def test_fewer_modalities(tmp_path, parse):
    content, _ = mult()
    parsed = parse("features", saved(tmp_path, mmsa(content)), "--modalities", "audio, video")
    assert all(sorted(row) == ["audio", "video"] for row in arrays_of(parsed, tmp_path / "out")["test"])
    for part in content.values():
        del part["vision"]
    parsed = parse("features", saved(tmp_path, content))
    assert all(sorted(row) == ["audio", "text"] for row in arrays_of(parsed, tmp_path / "more")["test"])
    with pytest.raises(MMFairseqError, match="none of --modalities video is in it"):
        parse("features", saved(tmp_path, content), "--modalities", "video")
    with pytest.raises(MMFairseqError, match="--modalities: unknown 'vision'"):
        parse("features", saved(tmp_path, content), "--modalities", "vision")


SHARED = [0, 1]  # a file of few bytes, but 2^60 numbers
for _ in range(60):
    SHARED = [SHARED, SHARED]


def without(split, key):
    return lambda content: content[split].pop(key)


def cut(split, key):
    return lambda content: content[split].update({key: content[split][key][:-1]})


def put(split, key, row, value):
    def change(content):
        rows = list(content[split][key])
        rows[row] = value
        content[split][key] = rows

    return change


BAD = [
    (cut("valid", "vision"), r"split 'valid': 'vision' has 2 rows, 'audio' 3; .* row 2 has no 'vision'"),
    (cut("test", "labels"), r"split 'test': 'labels' has 3 rows, 'audio' 4; .* row 3 has no 'labels'"),
    (cut("test", "audio"), r"split 'test': 'text' has 4 rows, 'audio' 3; .* row 3 has no 'audio'"),
    (cut("train", "id"), r"split 'train': 'id' has 4 rows, 'audio' 5"),
    (without("train", "labels"), r"split 'train': none of regression_labels, labels, label"),
    (put("train", "audio", 2, np.zeros((4, 3))), r"split 'train': row 2: 'audio': 3 features a frame, row 0 has 2"),
    (put("train", "audio", 2, np.zeros(4)), r"row 2: 'audio': shape \(4,\); expected numbers of shape \(T, D\)"),
    (put("train", "audio", 2, "x"), r"row 2: 'audio': no array of numbers, .* \(str\)"),
    (put("valid", "audio", 1, None), r"split 'valid': row 1: 'audio': no array of numbers, .* \(NoneType\)"),
    (put("train", "audio", 2, SHARED), r"row 2: 'audio': no array of numbers"),
    (put("train", "labels", 0, SHARED), r"split 'train': row 0: 'labels': list is no number"),
    (put("train", "labels", 1, SHARED), r"split 'train': row 1: 'labels': list is no number"),
    (put("train", "id", 1, SHARED), r"split 'train': row 1: 'id': list is no name"),
    (lambda content: content["train"].update(raw_text=[SHARED] * 5), r"row 0: 'raw_text': list 'list', not a text"),
    (lambda content: content["train"].update(audio_lengths=[SHARED] * 5), r"row 0: 'audio_lengths': list of an array"),
    (lambda content: content["train"].update(text_bert=[SHARED] * 5), r"row 0: 'text_bert': no numbers"),
    (lambda content: content["train"].update(audio=np.array(1.5), vision={1}, text=3), "none of audio, text, vision"),
    (put("train", "audio", 2, [[1], [2, 3]]), r"row 2: 'audio': no array of numbers"),
    (put("valid", "text", 1, np.full((6, 3), np.nan)), r"split 'valid': row 1: 'text': nan in frame 0, column 0"),
    (put("test", "labels", 3, np.array([[np.nan]])), r"split 'test': row 3: 'labels': \[\[nan\]\] is no number"),
    (put("test", "labels", 3, "high"), r"row 3: 'labels': high is no number"),
    (
        put("test", "id", 1, "train0$_$0$_$1"),
        r"split 'test': row 1: id 'train0_0_1' stands already in .*'train': row 0",
    ),
    (put("test", "id", 1, ""), r"split 'test': row 1: 'id' is empty"),
    (lambda content: content["train"].update(audio_lengths=[99] * 5), r"row 0: 'audio_lengths': 99 of an array of 10"),
    (lambda content: content["train"].update(raw_text=[7] * 5), r"row 0: 'raw_text': int '7', not a text"),
    (lambda content: content["train"].update(labels=np.zeros((5, 7))), r"row 0: 'labels' has the shape \(7,\)"),
    (lambda content: content.update(dev=content["valid"]), r"split 'dev': the same split as in .*'valid'"),
    (lambda content: content["valid"].update({key: [] for key in content["valid"]}), "split 'valid': no utterances"),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_a_fault_is_named_by_file_split_row_and_key(tmp_path, parse, change, reason):
    content, _ = mult()
    change(content)
    with pytest.raises(MMFairseqError, match=rf"a\.pkl: {reason}" if reason[:5] == "split" else reason):
        parse("features", saved(tmp_path, content))


def test_emotions_that_are_no_pairs(tmp_path, parse):
    content, _ = mult(emotions=True)
    content["valid"]["labels"][1, 2] = [1, 1]
    with pytest.raises(MMFairseqError, match=r"row 1: 'labels': of each pair \(no, yes\) one must be 1"):
        parse("features", saved(tmp_path, content))
    content["valid"]["labels"] = content["valid"]["labels"] * 0.5
    with pytest.raises(MMFairseqError, match="row 0: 'labels': not four pairs of 0 and 1"):
        parse("features", saved(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "holds list; expected a dict of the splits"),
        ({"a": {}, "b": {}}, "holds a dict of 'a', 'b'"),
        ({"train": [1]}, "expected a dict of the splits"),
        ({"train": {"x": [1]}}, "none of audio, text, vision; it has 'x'"),
    ],
)
def test_other_pickles(tmp_path, parse, content, reason):
    with pytest.raises(MMFairseqError, match=reason):
        parse("features", saved(tmp_path, content))


def test_ids_that_stand_twice_can_be_numbered(tmp_path, parse):
    content, _ = mult()
    content["train"]["id"][1] = content["train"]["id"][0]
    with pytest.raises(MMFairseqError, match="--number-ids names utterances anew"):
        parse("features", saved(tmp_path, content))
    rows = parse("features", saved(tmp_path, content), "--number-ids").manifest.utterances
    assert (rows[1].id, rows[1].dialogue) == ("train00001", "train0")


def test_single_labels_must_be_there(tmp_path, parse):
    with pytest.raises(MMFairseqError, match=r"--single-labels: .* no 'regression_labels_T'"):
        parse("features", saved(tmp_path, mult()[0]), "--single-labels")


def test_the_published_sizes_name_the_corpus(tmp_path, parse, capsys):
    def sized(sizes):
        parts = zip(COUNTS, sizes, strict=True)
        return {split: {"text": np.ones((size, 1, 1)), "labels": np.zeros(size)} for split, size in parts}

    parsed = parse("features", saved(tmp_path, sized(SIZES["MOSI"])))
    assert parsed.published == parsed.seen == {"train": 1284, "valid": 229, "test": 686}
    assert "the sizes are those of MOSI" in parsed.notes
    path = saved(tmp_path, sized((1284, 229, 685)))
    assert main(["prepare", "features", str(path), str(tmp_path / "out")]) == 2
    assert "test 685 instead of 686" in capsys.readouterr().err
    assert not parse("features", saved(tmp_path, sized((10, 20, 30)))).published


@pytest.mark.parametrize("name", ["mult_unaligned", "mult_aligned", "mult_iemocap", "mmsa_unaligned", "mmsa_aligned"])
def test_toys_of_every_form_are_prepared(tmp_path_factory, tmp_path, name):
    raw = tmp_path_factory.getbasetemp() / "toy_features"
    if not raw.exists():
        toy.write(raw, 40, seed=2)
    assert main(["prepare", "features", str(raw / f"{name}.pkl"), str(tmp_path / "out")]) == 0
    manifest = Manifest.read(tmp_path / "out" / "manifest.tsv")
    assert len(manifest) == 40
    for row in manifest.utterances:
        frames = {m: len(read_features(manifest.root / row.features, m)) for m in ("audio", "text", "video")}
        assert (len(set(frames.values())) == 1) == name.endswith("_aligned") or len(set(frames.values())) == 1
        assert 4 <= frames["text"] <= 12
