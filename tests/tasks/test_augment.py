"""Augmentation through the real task and fairseq's iterator: who draws what, and which stream is read."""

import numpy as np
import pytest
import soundfile
import torch
from task_factory import around, checkpoint_task, model_cfg, state_of, task_of

from mm_fairseq.backbones import complete
from mm_fairseq.databin import CachedStream
from mm_fairseq.databin.format import open_shard
from mm_fairseq.databin.reader import StreamReader
from mm_fairseq.databin.writer import write_shard
from mm_fairseq.datasets.augment import audio
from mm_fairseq.errors import MMFairseqError

ALL = {
    "speed_factors": "0.9,1.0,1.1",
    "gain_db": 6.0,
    "noise_snr": "5,20",
    "noise_colour": "pink",
    "room_rt60": "0.1,0.3",
    "time_masks": 2,
    "time_mask_width": 0.3,
    "channel_masks": 1,
    "channel_mask_width": 0.5,
    "frame_drop": 0.4,
    "flip_probability": 0.5,
    "word_drop": 0.4,
    "mixup_alpha": 0.5,
}


def loaded(data, seed=3, split="train", modalities="audio,text,video", model=None, **options):
    told = around()
    told["common"]["seed"] = seed
    task = task_of(data, around=told, modalities=modalities, **options)
    task.build_model(model_cfg(**(model or {})))
    task.load_dataset(split)
    return task


def batches(task, workers=0, epoch=1, split="train", size=5, **shards):
    """Utterance ids, in the order of the batch, to the batch."""
    iterator = task.get_batch_iterator(
        task.dataset(split),
        max_sentences=size,
        seed=3,
        epoch=epoch,
        num_workers=workers,
        disable_iterator_cache=True,
        **shards,
    ).next_epoch_itr(shuffle=True)
    return {tuple(batch["id"].tolist()): batch for batch in iterator if batch}


def flat(batch):
    """Every tensor of a batch by its place."""
    found = {}

    def walk(place, value):
        if isinstance(value, dict):
            for key, each in value.items():
                walk((*place, key), each)
        elif isinstance(value, torch.Tensor):
            found[place] = value

    walk((), {key: batch[key] for key in ("net_input", "target", "id")})
    return found


def same(first, second):
    """Whether two epochs have the same batches with the same tensors."""
    if first.keys() != second.keys():
        return False
    pairs = [(flat(first[ids]), flat(second[ids])) for ids in first]
    return all(
        one.keys() == other.keys()
        and all(one[p].shape == other[p].shape and torch.equal(one[p].nan_to_num(), other[p].nan_to_num()) for p in one)
        for one, other in pairs
    )


def by_utterance(epoch_batches, modality):
    """Row of the split to its real input."""
    found = {}
    for ids, batch in epoch_batches.items():
        x, mask = (batch["net_input"][key][modality] for key in ("inputs", "padding_masks"))
        found |= {number: x[row][~mask[row]].numpy() for row, number in enumerate(ids)}
    return found


@pytest.fixture(scope="module")
def first(every_kind):
    task = loaded(every_kind, **ALL)
    return task, batches(task)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_draws_the_same(first, workers):
    task, expected = first
    assert same(batches(task, workers), expected)
    assert same(batches(task, workers, epoch=2), batches(task, 0, epoch=2))


def test_any_number_of_ranks_draws_the_same(first):
    task, expected = first
    shards = [batches(task, num_shards=2, shard_id=rank) for rank in (0, 1)]
    assert min(map(len, shards)) >= 2
    assert same(shards[0] | shards[1], expected)


def test_a_rerun_draws_the_same_and_another_epoch_or_seed_does_not(first, every_kind):
    task, expected = first
    assert same(batches(loaded(every_kind, **ALL)), expected)
    others = {"epoch": batches(task, epoch=2), "seed": batches(loaded(every_kind, seed=4, **ALL))}
    for what, other in others.items():
        for modality in ("audio", "text", "video"):
            old, new = by_utterance(expected, modality), by_utterance(other, modality)
            changed = [row for row in old if old[row].shape != new[row].shape or (old[row] != new[row]).any()]
            assert len(changed) > len(old) / 4, (what, modality)
    assert same(batches(task), expected)  # the epoch is all that mattered


def test_what_is_drawn_does_not_depend_on_the_batches(first):
    """Of mixup only who is the partner does: utterances of the same batch."""
    task, expected = first
    other = batches(task, size=7)
    for modality in ("audio", "text", "video"):
        old, new = by_utterance(expected, modality), by_utterance(other, modality)
        assert all(np.array_equal(old[row], new[row]) for row in old)

    def told(epoch_batches, key):
        rows = [(ids, batch["net_input"]["augment"]) for ids, batch in epoch_batches.items()]
        return {
            number: (augment["erase"]["audio"] if key == "erase" else augment["share"])[row]
            for ids, augment in rows
            for row, number in enumerate(ids)
        }

    for key in ("erase", "share"):
        old, new = told(expected, key), told(other, key)
        assert all(torch.equal(old[row], new[row]) for row in old)


def test_utterances_are_changed_within_their_limits(first, every_kind):
    _, changed = first
    plain = batches(loaded(every_kind))
    for modality in ("audio", "text", "video"):
        old, new = by_utterance(plain, modality), by_utterance(changed, modality)
        assert old.keys() == new.keys()
        assert sum(old[row].shape != new[row].shape or (old[row] != new[row]).any() for row in old) > len(old) / 2
    for row, text in by_utterance(changed, "text").items():
        whole = by_utterance(plain, "text")[row]
        assert text[0] == whole[0]
        assert text[-1] == whole[-1]
        assert 3 <= len(text) <= len(whole)
    audios = by_utterance(changed, "audio")
    assert max(np.abs(x).max() for x in audios.values()) <= 1
    lengths = {row: len(audios[row]) / len(x) for row, x in by_utterance(plain, "audio").items()}
    assert {round(ratio, 2) for ratio in lengths.values()} == {0.91, 1.0, 1.11}
    assert all(len(x) >= 1 for x in by_utterance(changed, "video").values())


def test_longer_than_the_model_takes_is_cut_again(every_kind):
    task = loaded(every_kind, modalities="audio", max_sample_size=3000, speed_factors="0.5")
    lengths = {row: len(x) for row, x in by_utterance(batches(task), "audio").items()}
    assert max(lengths.values()) == 3000
    short = int(StreamReader(every_kind / "audio").lengths.min())
    cfg = {"audio_backbone": f"mfcc:n_mfcc=8,n_mels=16,n_fft={short}"}
    task = loaded(every_kind, modalities="audio", speed_factors="2.0", model=cfg)  # half of it would be too short
    assert min(len(x) for x in by_utterance(batches(task), "audio").values()) >= short


def test_targets_are_mixed_as_the_model_is_told(first, every_kind):
    _, changed = first
    plain = loaded(every_kind)
    for ids, batch in changed.items():
        augment = batch["net_input"]["augment"]
        unmixed = plain.dataset("train").collater([plain.dataset("train")[row] for row in ids])["target"]
        for name, kind in plain.kinds.items():
            expected = kind.mix(unmixed[name], augment["partner"], augment["share"])
            torch.testing.assert_close(batch["target"][name], expected, equal_nan=True)
        assert sorted(augment["partner"].tolist()) == list(range(len(ids)))


def test_only_train_is_changed(every_kind):
    valid = loaded(every_kind, split="valid", **ALL)
    assert same(batches(valid, split="valid"), batches(loaded(every_kind, split="valid"), split="valid"))
    assert "augment" not in next(iter(batches(valid, split="valid").values()))["net_input"]
    state = state_of(task_of(every_kind, **ALL))
    assert checkpoint_task(every_kind, state, **ALL).augmentation is None


def test_nothing_is_changed_by_default(every_kind):
    task = loaded(every_kind)
    assert task.augmentation is None
    assert task.dataset("train").change is None


def test_as_often_as_the_probability_says(every_kind):
    plain = by_utterance(batches(loaded(every_kind, modalities="audio")), "audio")
    task = loaded(every_kind, modalities="audio", gain_db=6.0, augment_probability=0.5)
    changed = []
    for epoch in range(1, 9):
        found = by_utterance(batches(task, epoch=epoch), "audio")
        changed += [not np.array_equal(found[row], plain[row]) for row in plain]
    assert np.mean(changed) == pytest.approx(0.5, abs=0.12)


def test_noise_from_a_folder(every_kind, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16), 16000)
    task = loaded(every_kind, modalities="audio", noise_snr="10", noise_folder=str(tmp_path))
    assert isinstance(task.augmentation.noise, audio.NoiseFolder)
    plain = by_utterance(batches(loaded(every_kind, modalities="audio")), "audio")
    for row, x in by_utterance(batches(task, workers=1), "audio").items():
        ratio = np.square(plain[row]).mean() / np.square(x - plain[row]).mean()
        assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.1)


def cache_mfcc(data_bin):
    """Write made-up features of the audio backbone of these tests, cut at 2000 samples."""
    args = complete({"name": "mfcc", "args": {"n_mfcc": 8, "n_mels": 16}, "sha256": {}})["args"]
    stream = CachedStream("audio", "mfcc", args, {}, 2000, (), "float16", 8)
    raw, receipt = open_shard(data_bin / "audio", 0)
    items = [np.zeros((2, 8), np.float16)] * len(raw)
    write_shard(stream.write(data_bin), 0, items, "float16", 8, notes={"source": receipt["sha256"]["bin"]})


def test_cached_features_serve_where_nothing_changes_them(own_data_bin, checkpoints, caplog):
    cache_mfcc(own_data_bin)
    options = {"modalities": "audio,text", "max_sample_size": 2000}
    masked = loaded(own_data_bin, word_drop=0.3, time_masks=1, time_mask_width=0.5, **options)
    assert set(masked.dataset("train").features) == {"audio"}
    task = loaded(own_data_bin, noise_snr="10", **options)
    assert not task.dataset("train").features
    assert "train: audio from raw data, not from cached features, for --noise-snr changes it" in caplog.text
    task.load_dataset("valid")
    assert set(task.dataset("valid").features) == {"audio"}
    with pytest.raises(MMFairseqError, match=r"--gain-db changes raw audio.*give --backbone-source raw, or auto"):
        loaded(own_data_bin, gain_db=3.0, backbone_source="cached", **options | {"modalities": "audio"})
    model = {"omit_frozen_backbones": True, "audio_backbone": f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt"}
    with pytest.raises(MMFairseqError, match=r"--gain-db changes raw audio.*no 'wav2vec' to encode it"):
        loaded(own_data_bin, gain_db=3.0, model=model, modalities="audio")
