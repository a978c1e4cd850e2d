"""The task: options, batches, what a step does, self-contained state."""

import json
from types import SimpleNamespace

import pytest
import torch
from task_factory import (
    Guess,
    around,
    batches_of,
    logs_of,
    model_cfg,
    task_of,
)

from mm_fairseq.datasets import Limits, drop_modalities
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import Target, write_targets

# Options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["audio", "text", "video"]),
        ({"all_in": True}, ["audio", "text", "video"]),
        ({"a_only": True}, ["audio"]),
        ({"t_only": True, "a_only": True}, ["audio", "text"]),
        ({"v_only": True}, ["video"]),
        ({"modalities": "video, text"}, ["text", "video"]),
    ],
)
def test_modalities(data_bin, options, expected):
    assert task_of(data_bin, **options).state.modalities == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": "audio,smell"}, r"'smell'.*audio, text, video"),
        ({"modalities": "audio,"}, r"modality ''"),
        ({"modalities": "audio", "t_only": True}, r"--modalities audio contradicts the flags for text"),
        ({"num_classes": 7}, r"--num-classes 7.*'emotion': 4"),
        ({"num_classes": 4, "binary_target_iemocap": True}, r"--num-classes 4.*'emotion': 8"),
        ({"softmax_target_meld": True, "regression_target_mos": True}, r"exclude each other"),
        ({"targets": "emotion,mood"}, r"--targets 'mood' is not in .*data-bin; it has emotion"),
        ({"soft_labels": True}, r"--soft-labels: .*data-bin has no votes of annotators for 'emotion'"),
    ],
)
def test_bad_options_are_named(data_bin, options, words):
    task = task_of(data_bin, **options)
    with pytest.raises(MMFairseqError, match=words):
        task.build_model(model_cfg())


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({"num_classes": 8, "binary_target_iemocap": True}, 8),
        ({"num_classes": 4, "softmax_target_meld": True}, 4),
        ({}, 4),
    ],
)
def test_the_originals_flags_choose_the_kind(data_bin, options, outputs):
    assert task_of(data_bin, **options).outputs == {"emotion": outputs}


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_modality_dropout_is_a_probability(data_bin, probability):
    with pytest.raises(MMFairseqError, match=rf"--modality-dropout {probability}: a probability"):
        task_of(data_bin, modality_dropout=probability)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("", ["emotion", "each", "events", "sentiment"]),
        ("sentiment, emotion", ["emotion", "sentiment"]),  # in the order of the data-bin
        ("events", ["events"]),
    ],
)
def test_targets_are_chosen(every_kind, targets, expected):
    task = task_of(every_kind, targets=targets)
    outputs = {"emotion": 4, "each": 8, "events": 3, "sentiment": 1}
    assert task.outputs == {name: outputs[name] for name in expected}
    assert list(task.kinds) == [entry["name"] for entry in task.state.targets] == expected
    task.load_dataset("valid")
    assert list(task.dataset("valid").truths) == expected


def test_unknown_target_lists_the_known(every_kind):
    with pytest.raises(MMFairseqError, match=r"--targets '' is not in .*; it has emotion, each, events, sentiment"):
        task_of(every_kind, targets="emotion,").state.targets  # noqa: B018


def test_soft_labels(every_kind):
    soft = task_of(every_kind, soft_labels=True).kinds
    assert [name for name, kind in soft.items() if kind.soft] == ["emotion"]
    assert not any(kind.soft for kind in task_of(every_kind).kinds.values())
    with pytest.raises(MMFairseqError, match=r"--soft-labels: .* has no votes of annotators for 'events'"):
        task_of(every_kind, soft_labels=True, targets="events,sentiment").kinds  # noqa: B018


def test_a_flag_that_does_not_fit_the_targets(every_kind):
    with pytest.raises(MMFairseqError, match=r"target 'sentiment': kind 'binary_each' needs at least 2"):
        task_of(every_kind, binary_target_iemocap=True).kinds  # noqa: B018
    chosen = task_of(every_kind, binary_target_iemocap=True, targets="emotion").kinds
    assert [kind.target.kind for kind in chosen.values()] == ["binary_each"]


def test_regression_flag(own_data_bin):
    write_targets(own_data_bin / "targets.json", [Target("mos", "single", ("0.5", "1"), votes="raters")])
    assert task_of(own_data_bin, num_classes=1, regression_target_mos=True).outputs == {"mos": 1}


def test_flags_without_meaning_are_named_in_a_warning(data_bin, caplog):
    task_of(data_bin, eval_matric=True, data_raw="/elsewhere")
    assert "--eval-matric" in caplog.text
    assert "--data-raw /elsewhere" in caplog.text


def test_a_folder_that_is_no_data_bin(tmp_path, own_data_bin):
    with pytest.raises(MMFairseqError, match=r"not a data-bin.*mm-fairseq binarize"):
        task_of(tmp_path / "nowhere").state.meta  # noqa: B018
    meta = json.loads((own_data_bin / "meta.json").read_text())
    (own_data_bin / "meta.json").write_text(json.dumps(meta | {"complete": False}))
    with pytest.raises(MMFairseqError, match=r"--resume"):
        task_of(own_data_bin).state.meta  # noqa: B018
    (own_data_bin / "meta.json").write_text(json.dumps(meta)[:-9])
    with pytest.raises(MMFairseqError, match=r"meta\.json: damaged"):
        task_of(own_data_bin).state.meta  # noqa: B018
    (own_data_bin / "meta.json").write_text(json.dumps(meta | {"protocols": []}))
    with pytest.raises(MMFairseqError, match=r"no utterance belongs to a split"):
        task_of(own_data_bin).load_dataset("train")


def test_protocol_fold_and_split(data_bin):
    for options, words in (
        ({"protocol": "by_actor"}, r"--protocol 'by_actor'.*official"),
        ({"fold": "9"}, r"--fold '9'; protocol official has 1"),
    ):
        with pytest.raises(MMFairseqError, match=words):
            task_of(data_bin, **options).load_dataset("valid")
    with pytest.raises(MMFairseqError, match=r"no split 'dev'.*test, train, valid"):
        task_of(data_bin).load_dataset("dev")


def test_symbols_around_the_text(data_bin):
    task = task_of(data_bin)
    task.load_dataset("valid")
    assert task.dataset("valid")[0]["text"][[0, -1]].tolist() == [0, 2]
    task = task_of(data_bin, init_token=5, separator_token=6)
    task.load_dataset("valid")
    assert task.dataset("valid")[0]["text"][[0, -1]].tolist() == [5, 6]
    with pytest.raises(MMFairseqError, match=r"--separator-token 999.*16 symbols"):
        task_of(data_bin, separator_token=999).load_dataset("valid")


def test_audio_is_cut_at_max_sample_size(data_bin):
    task = task_of(data_bin, max_sample_size=1600)
    task.build_model(model_cfg())
    assert task.limits["audio"] == Limits(400, 1600)
    task.load_dataset("valid")
    assert max(len(task.dataset("valid")[index]["audio"]) for index in range(8)) == 1600
    with pytest.raises(MMFairseqError, match=r"--max-sample-size 399.*400"):
        task_of(data_bin, max_sample_size=399).build_model(model_cfg())


def test_text_model_and_dictionary_must_match(data_bin, roberta_data_bin, checkpoints):
    cfg = {"text_backbone": f"roberta:{checkpoints}/roberta", "encoder_attention_heads": 4}
    task_of(roberta_data_bin, t_only=True).build_model(model_cfg(**cfg))
    with pytest.raises(MMFairseqError, match=r"dict\.txt 16.*binarize with the tokenizer"):
        task_of(data_bin, t_only=True).build_model(model_cfg(**cfg))


# Batches


def epoch_batches(task, size, epoch=1, seed=1, split="train", shuffle=True, **options):
    iterator = task.get_batch_iterator(task.dataset(split), max_sentences=size, seed=seed, epoch=epoch, **options)
    return [batch["id"].tolist() for batch in iterator.next_epoch_itr(shuffle=shuffle) if batch]


@pytest.mark.parametrize("size", [1, 5, 7])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_every_utterance_exactly_once(data_bin, size, split):
    task = task_of(data_bin, modalities="audio,text")
    task.load_dataset(split)
    total = len(task.dataset(split))
    batches = epoch_batches(task, size, split=split, required_batch_size_multiple=8)
    assert sorted(index for batch in batches for index in batch) == list(range(total))
    assert len(batches) == -(-total // size)
    shards = [epoch_batches(task, size, split=split, num_shards=2, shard_id=shard) for shard in (0, 1)]
    assert sorted(index for shard in shards for batch in shard for index in batch) == list(range(total))


def test_nothing_is_skipped_for_its_length(data_bin):
    """fairseq leaves out what is longer than --max-tokens in training."""
    task = task_of(data_bin, modalities="audio,text")
    task.load_dataset("train")
    sizes = task.dataset("train").sizes
    most = int(sizes.max())
    options = {"max_tokens": most, "max_positions": most, "ignore_invalid_inputs": True}
    assert sum(map(len, epoch_batches(task, None, **options))) == len(sizes)
    options |= {"max_tokens": most - 1, "max_positions": most - 1}
    with pytest.raises(MMFairseqError, match=rf"'utt\d+' has {most} tokens.*--max-tokens {most - 1}"):
        epoch_batches(task, None, **options)


def test_order_changes_with_the_epoch_and_not_with_the_run(data_bin):
    task = task_of(data_bin, modalities="video")  # few lengths: the order among equals is drawn
    task.load_dataset("train")
    first, again, second, other = (epoch_batches(task, 5, *args) for args in ((1, 1), (1, 1), (2, 1), (1, 2)))
    assert first == again
    assert first != second
    assert first != other
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}  # batches are rebuilt


def test_defaults_that_a_shuffled_dataset_needs(data_bin):
    cfg = task_of(data_bin).cfg
    assert (cfg.reuse_dataloader, cfg.persistent_workers, cfg.rebuild_batches) == (False, False, True)


# Steps


def taken(task, sample, update_num):
    """What the model is given in a training step."""
    given = []

    def criterion(model, sample):
        given.append(sample)
        return torch.zeros(1), 1, {}

    model = SimpleNamespace(train=lambda: None, set_num_updates=lambda number: None)
    task.train_step(sample, model, criterion, SimpleNamespace(backward=lambda loss: None), update_num, False)
    return given[0]


def test_modality_dropout_is_for_training_only(data_bin):
    task = task_of(data_bin, around=around(), modality_dropout=0.5, modalities="audio,text")
    task.load_dataset("train")
    (batch,) = batches_of(task.dataset("train"), 24)
    found, expected = taken(task, batch, 5), drop_modalities(batch, 0.5, {"text": 1}, seed=3, update=5)
    for part in ("inputs", "padding_masks"):
        for name in ("audio", "text"):
            assert torch.equal(found["net_input"][part][name], expected["net_input"][part][name])
            assert not torch.equal(found["net_input"][part][name], batch["net_input"][part][name])
    assert task.state.updates == 6
    seen = []

    class Watched(Guess):
        def forward(self, inputs, padding_masks):
            seen.append(padding_masks)
            return super().forward(inputs, padding_masks)

    logs_of(task, [batch], Watched(task.outputs))
    assert all(torch.equal(seen[0][name], mask) for name, mask in batch["net_input"]["padding_masks"].items())


def test_nothing_is_dropped_unasked(data_bin):
    task = task_of(data_bin, modalities="text")
    task.load_dataset("train")
    (batch,) = batches_of(task.dataset("train"), 24)
    assert taken(task, batch, 0) is batch
