"""The dataset against the arrays that the data-bin was written from."""

import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from databin_factory import CLASSES, write_data_bin
from fairseq.data import data_utils

from mm_fairseq.databin.reader import StreamReader
from mm_fairseq.datasets import Limits, RawAudioTextVideoDataset
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest
from mm_fairseq.targets import MISSING, kind_of, read_targets

LOGGER = "mm_fairseq.datasets.raw_audio_text_video"
BOS, PAD, EOS = 0, 1, 2


def dataset(
    folder, rows=None, modalities=("audio", "text", "video"), limits=None, shuffle=False, soft=False, withheld=()
):
    manifest = Manifest.read(folder / "manifest.tsv")
    kinds = {target.name: kind_of(target, soft) for target in read_targets(folder / "targets.json")}
    rows = np.arange(len(manifest.utterances)) if rows is None else np.asarray(rows, np.int64)
    symbols = BOS, PAD, EOS
    return RawAudioTextVideoDataset(
        folder, "valid", rows, manifest.utterances, modalities, kinds, limits or {}, symbols, shuffle, withheld
    )


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """Row 1 lacks audio, row 2 text, row 3 video, row 4 everything."""
    missing = {"audio": {1, 4}, "text": {2, 4}, "video": {3, 4}}
    return write_data_bin(tmp_path_factory.mktemp("gaps") / "data-bin", per_class=2, missing=missing, frame_size=32)


def test_a_batch_holds_what_was_written(gaps):
    data = dataset(gaps)
    order = [3, 0, 4, 1, 2]
    batch = data.collater([data[index] for index in order])
    assert batch["id"].tolist() == order
    assert batch["nsentences"] == 5
    assert batch["ntokens"] == sum(data.num_tokens(index) for index in order)
    assert batch["target"]["emotion"].tolist() == [index % len(CLASSES) for index in order]
    inputs, masks = batch["net_input"]["inputs"], batch["net_input"]["padding_masks"]
    assert set(batch["net_input"]) == {"inputs", "padding_masks"}  # no labels
    streams = {name: StreamReader(gaps / name) for name in inputs}
    for place, row in enumerate(order):
        kept = {name: inputs[name][place][~masks[name][place]] for name in inputs}
        assert np.array_equal(kept["audio"].numpy() * 32768, streams["audio"][row])
        text = streams["text"][row].tolist()
        assert kept["text"].tolist() == ([BOS, *text, EOS] if text else [])
        assert len(kept["video"]) == streams["video"].lengths[row]
        colour = 40 + 60 * (row % len(CLASSES))
        assert (kept["video"].int() - colour).abs().max() <= 2 if len(kept["video"]) else row in (3, 4)
    assert inputs["text"][masks["text"]].eq(PAD).all()
    assert inputs["audio"][masks["audio"]].eq(0).all()
    assert inputs["audio"].abs().max() <= 1
    assert inputs["video"].dtype == torch.uint8
    assert inputs["video"].shape[2:] == (3, 32, 32)


def test_a_batch_without_a_modality_at_all(gaps):
    data = dataset(gaps)
    batch = data.collater([data[4]])
    for name, mask in batch["net_input"]["padding_masks"].items():
        assert mask.tolist() == [[True]], name
    assert data.collater([]) == {}


def test_longer_ones_are_cut_and_named(gaps, caplog):
    limits = {"audio": Limits(1, 1600), "text": Limits(1, 3), "video": Limits(1, 1)}
    with caplog.at_level(logging.WARNING, LOGGER):
        data = dataset(gaps, limits=limits)
    whole = StreamReader(gaps / "text")
    for row in (0, 1):
        item = data[row]
        assert item["text"].tolist() == [BOS, int(whole[row][0]), EOS]  # the end symbol stays
        assert len(item["video"]) == 1
    assert len(data[0]["audio"]) == 1600
    lengths = StreamReader(gaps / "audio").lengths
    long_audio = [row for row in range(8) if lengths[row] > 1600]
    (message,) = [text for text in caplog.messages if "audio of" in text]
    assert f"audio of {len(long_audio)} utterances, in samples, longer than 1600, cut at the end" in message
    assert all(f"utt{row:03d} ({lengths[row]})" in message for row in long_audio)


def test_shorter_ones_lack_the_modality_and_are_named(gaps, caplog):
    lengths = StreamReader(gaps / "audio").lengths
    shortest = int(np.median(lengths[lengths > 0]))
    with caplog.at_level(logging.WARNING, LOGGER):
        data = dataset(gaps, limits={"audio": Limits(shortest)})
    short = [row for row in range(8) if 0 < lengths[row] < shortest]
    assert short
    for row in range(8):
        assert (data[row]["audio"] is None) == (lengths[row] < shortest)
    (message,) = [text for text in caplog.messages if "audio of" in text]
    assert f"audio of {len(short)} utterances" in message
    assert f"shorter than {shortest}, taken as missing" in message
    assert all(f"utt{row:03d} ({lengths[row]})" in message for row in short)
    assert "utt001" not in message  # it has no audio at all, which is no news


def test_utterances_with_nothing_are_named(gaps, caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        dataset(gaps, modalities=("audio", "text"))
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert message == "valid: 1 of 8 utterances have none of audio, text and are scored all the same: utt004"
    assert caplog.messages[-1] == "valid: 8 utterances; audio in 6, text in 6"


@pytest.mark.parametrize("longest", [1, 2, 3, 4])
def test_text_never_exceeds_its_limit(gaps, longest):
    data = dataset(gaps, limits={"text": Limits(1, longest)})
    assert [len(data[row]["text"]) for row in (0, 1, 3)] == [longest] * 3


def test_sizes_count_ten_milliseconds_tokens_and_frames(gaps):
    data = dataset(gaps)
    audio, text, video = (StreamReader(gaps / name).lengths for name in ("audio", "text", "video"))
    for row in range(8):
        expected = max(1, -(-audio[row] // 160), text[row] + 2 * (text[row] > 0), video[row])
        assert data.size(row) == data.num_tokens(row) == expected
    assert data.num_tokens_vec(np.array([3, 0])).tolist() == [data.size(3), data.size(0)]


def test_a_withheld_modality_is_a_missing_one(gaps):
    whole, data = dataset(gaps), dataset(gaps, withheld=["audio", "video"])
    batch = data.collater([data[index] for index in range(8)])
    masks = batch["net_input"]["padding_masks"]
    assert masks["audio"].all()
    assert masks["video"].all()
    assert torch.equal(~masks["text"].all(1), torch.from_numpy(whole.lengths["text"][:] > 0))
    assert data.lengths["audio"][:].tolist() == data.lengths["video"][:].tolist() == [0] * 8
    assert data.lengths["text"][:].tolist() == whole.lengths["text"][:].tolist()
    assert [data.seconds(row) for row in range(8)] == [whole.seconds(row) for row in range(8)]


def test_seconds(gaps):
    data = dataset(gaps)
    samples = StreamReader(gaps / "audio").lengths
    assert data.seconds(0) == pytest.approx(samples[0] / 16000, abs=5e-4)
    assert data.seconds(1) is None  # neither audio nor a span
    data.utterances.every[1] = replace(data.utterances[1], start=1.5, end=4.0)
    data.utterances.every[0] = replace(data.utterances[0], end=4.0)
    assert (data.seconds(1), data.seconds(0)) == (2.5, 4.0)


@pytest.mark.parametrize("soft", [False, True])
def test_truths_and_goals_of_every_kind(tmp_path, soft):
    """Rows 0, 7 lack emotion, 6 each, 5 events, 4 sentiment; the fourth class has no votes."""
    data = dataset(write_data_bin(tmp_path / "data-bin", per_class=2, frame_size=8, every_kind=True), soft=soft)
    assert data.truths["emotion"].tolist() == [MISSING, 1, 2, 3, 0, 1, 2, MISSING]
    assert data.truths["each"].tolist() == [0, 1, 2, 3, 0, 1, MISSING, 3]
    assert [kind.label(truth) for kind, truth in zip([data.kinds["events"]] * 8, data.truths["events"][:])] == [
        *(["speech"], ["speech", "music"], ["music", "noise"], []),
        *(["speech"], None, ["music", "noise"], []),
    ]
    assert data.truths["sentiment"].tolist() == pytest.approx([-2, -0.5, 0, 1.5, np.nan, -0.5, 0, 1.5], nan_ok=True)
    batch = data.collater([data[index] for index in range(8)])["target"]
    if soft:
        shares = [[1, 0, 0, 0], [1 / 3, 2 / 3, 0, 0], [0, 1 / 3, 2 / 3, 0], [0, 0, 0, 1]]
        expected = [*shares, *shares[:3], [np.nan] * 4]  # votes without a label count; without either it is missing
        torch.testing.assert_close(batch["emotion"], torch.tensor(expected), equal_nan=True)
    else:
        assert batch["emotion"].tolist() == data.truths["emotion"].tolist()
    assert batch["each"].tolist() == data.truths["each"].tolist()  # it has no votes
    assert (batch["events"].shape, batch["sentiment"].shape) == ((8, 3), (8,))


def test_bad_votes_name_the_utterance(tmp_path):
    folder = write_data_bin(tmp_path / "data-bin", per_class=1, frame_size=8, every_kind=True)
    path = folder / "manifest.tsv"
    path.write_text(path.read_text().replace("sad=2|neu=1", "sad=2|fru=1"))
    with pytest.raises(MMFairseqError, match=r"utterance 'utt001': label 'fru'.*neu, sad"):
        dataset(folder, soft=True)


def test_rows_choose_utterances(data_bin):
    data = dataset(data_bin, rows=[5, 2], modalities=["text"])
    assert [utterance.id for utterance in data.utterances] == ["utt005", "utt002"]
    assert np.array_equal(data[1]["text"][1:-1], StreamReader(data_bin / "text")[2])
    assert set(data[0]) == {"index", "text"}


def test_an_empty_split_is_an_error(data_bin):
    with pytest.raises(MMFairseqError, match=r"data-bin: split 'valid' has no utterance"):
        dataset(data_bin, rows=[])


def test_max_tokens_names_the_utterance(data_bin):
    data = dataset(data_bin)
    largest = int(data.sizes.argmax())
    words = rf"'utt{largest:03d}' has {data.sizes[largest]} tokens, more than --max-tokens 3"
    with pytest.raises(MMFairseqError, match=words):
        data.batch_by_size(data.ordered_indices(), max_tokens=3)
    batches = data.batch_by_size(
        data.ordered_indices(), max_tokens=int(data.sizes.max()), required_batch_size_multiple=1
    )
    for batch in batches:
        assert len(batch) * data.sizes[batch].max() <= data.sizes.max()
    assert sorted(index for batch in batches for index in batch) == list(range(24))


def test_order_is_by_length_and_seeded(data_bin):
    data = dataset(data_bin, modalities=["video"], shuffle=True)  # one to three frames: many ties
    orders = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        orders.append(data.ordered_indices())
    assert orders[0].dtype == np.int64
    assert (np.diff(data.sizes[orders[0]]) >= 0).all()
    assert sorted(orders[0].tolist()) == list(range(24))
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize("batches", [{"max_tokens": 60}, {"max_sentences": 5}, {"max_sentences": 5, "max_tokens": 60}])
def test_order_and_batches_are_those_of_whole_arrays(data_bin, batches):
    """The numbers of a training do not depend on how few bytes they are kept in."""
    data = dataset(data_bin, shuffle=True)
    np.random.seed(7)
    found = data.ordered_indices()
    np.random.seed(7)
    order, sizes = np.random.permutation(24), data.sizes.astype(np.int64)
    order = order[np.argsort(sizes[order], kind="stable")]
    assert np.array_equal(found, order)
    expected = data_utils.batch_by_size(order, None, sizes[order], **batches)
    assert [batch.tolist() for batch in data.batch_by_size(order, **batches)] == [batch.tolist() for batch in expected]


def test_survives_the_way_to_a_worker(data_bin):
    data = dataset(data_bin)
    data[0]  # maps a shard
    copy = pickle.loads(pickle.dumps(data))
    first, second = (each.collater([each[0], each[7]])["net_input"]["inputs"] for each in (data, copy))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_unknown_label_is_an_error(tmp_path):
    folder = write_data_bin(tmp_path / "data-bin", per_class=1, frame_size=32)
    path = folder / "manifest.tsv"
    path.write_text(path.read_text().replace("\tsad", "\tfru"))
    with pytest.raises(MMFairseqError, match=r"utterance 'utt001': label 'fru'.*neu, sad"):
        dataset(folder)
