"""The task: options, batches, exact metrics, predictions, self-contained state."""

import json
import shutil

import numpy as np
import pytest
import torch
from databin_factory import CLASSES, write_data_bin
from fairseq.logging import metrics
from omegaconf import OmegaConf
from sklearn import metrics as sk

from mm_fairseq.criterions.emotion_prediction import EmotionPredictionCriterion
from mm_fairseq.datasets import Limits
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.models.ssl_fusion import SSLFusionConfig
from mm_fairseq.targets import Target, write_targets
from mm_fairseq.tasks.emotion_prediction import EmotionPredictionConfig, EmotionPredictionTask

SMALL = {"audio_backbone": "mfcc:n_mfcc=8,n_mels=16", "text_backbone": "embedding:dim=8", "encoder_attention_heads": 2}


def task_of(data, from_checkpoint=False, **options):
    cfg = OmegaConf.structured(EmotionPredictionConfig(data=str(data), **options))
    return EmotionPredictionTask.setup_task(cfg, from_checkpoint=from_checkpoint)


def model_cfg(**options):
    return OmegaConf.create({**vars(SSLFusionConfig()), **SMALL, "_name": "ssl_fusion", **options})


@pytest.fixture
def own_data_bin(data_bin, tmp_path):
    """A copy to write to."""
    return shutil.copytree(data_bin, tmp_path / "data-bin")


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


def test_regression_flag(own_data_bin):
    write_targets(own_data_bin / "targets.json", [Target("mos", "single", ("0.5", "1"))])
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


# Metrics and predictions


class Guess(torch.nn.Module):
    """Logits out of the tokens of a text, the same in any batch."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(3)
        self.table = torch.nn.Embedding(16, outputs)

    def forward(self, inputs, padding_masks):
        kept = ~padding_masks["text"]
        return {"logits": {"emotion": (self.table(inputs["text"]) * kept[..., None]).sum(1)}}


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """68 utterances, of which some lack their label."""
    folder = write_data_bin(tmp_path_factory.mktemp("larger") / "data-bin", per_class=17, frame_size=8)
    lines = (folder / "manifest.tsv").read_text().splitlines()
    lines[12:22:3] = [line.rpartition("\t")[0] + "\t" for line in lines[12:22:3]]
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return folder


def validate(task, size, whole):
    """Metrics as `fairseq-validate` takes them (over all logs at once) or as the trainer does (batch after batch)."""
    model, criterion = Guess(task.outputs["emotion"]), EmotionPredictionCriterion(task)
    iterator = task.get_batch_iterator(task.dataset("train"), max_sentences=size).next_epoch_itr(shuffle=False)
    logs = [task.valid_step(batch, model, criterion)[2] for batch in iterator]
    with metrics.aggregate(new_root=True) as found:
        for group in [[*logs, {}]] if whole else [[log] for log in logs]:
            task.reduce_metrics(group, criterion)
    return found.get_smoothed_values()


@pytest.mark.parametrize("whole", [True, False], ids=["validate", "train"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary_each", "single"])
def test_metrics_are_sklearns_for_any_batch_size(larger, binary, whole):
    task = task_of(larger, modalities="text", binary_target_iemocap=binary)
    task.load_dataset("train")
    data = task.dataset("train")
    batch = data.collater([data[index] for index in range(len(data))])
    with torch.no_grad():
        logits = Guess(task.outputs["emotion"])(**batch["net_input"])["logits"]["emotion"].unflatten(-1, (4, -1))
    scores = logits[..., 1] - logits[..., 0] if binary else logits[..., 0]
    truth, prediction = batch["target"]["emotion"].numpy(), scores.argmax(-1).numpy()
    prediction, truth = prediction[truth >= 0], truth[truth >= 0]
    assert 0 < len(truth) < len(data)
    expected = {
        "wa": sk.accuracy_score(truth, prediction),
        "ua": sk.balanced_accuracy_score(truth, prediction),
        "wf1": sk.f1_score(truth, prediction, average="weighted"),
        "mf1": sk.f1_score(truth, prediction, average="macro"),
    }
    for size in (1, 5, 64):
        found = validate(task, size, whole)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-9), (name, size)
        assert ("acc_neu" in found) == binary


def test_several_targets_are_logged_by_name(own_data_bin):
    write_targets(
        own_data_bin / "targets.json", [Target("emotion", "single", CLASSES), Target("arousal", "regression")]
    )
    task = task_of(own_data_bin, modalities="text")
    task.load_dataset("train")
    guess, criterion = Guess(4), EmotionPredictionCriterion(task)
    data = task.dataset("train")
    batch = data.collater([data[index] for index in range(8)])
    output = guess(**batch["net_input"])
    output["logits"]["arousal"] = output["logits"]["emotion"][:, :1]
    log = criterion.score(output, batch)[2]
    with metrics.aggregate(new_root=True) as found:
        task.reduce_metrics([log], criterion)
    values = found.get_smoothed_values()
    assert {"wa_emotion", "wf1_emotion", "mae_arousal", "corr_arousal"} <= set(values)
    assert np.isnan(values["mae_arousal"])  # no utterance has that label


def test_an_empty_batch_is_no_batch(data_bin):
    task = task_of(data_bin)
    assert task.valid_step({}, None, None) == (0.0, 0, {})


def test_predictions(larger, tmp_path):
    task = task_of(larger, modalities="text,audio")
    task.load_dataset("train")
    task.predictions_dir = tmp_path / "run"
    values = validate(task, 7, whole=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "train" / "predictions.jsonl").read_text().splitlines()]
    data = task.dataset("train")
    assert [line["id"] for line in lines] == [utterance.id for utterance in data.utterances]
    for line, utterance in zip(lines, data.utterances, strict=True):
        assert line["target"] == (utterance.labels["emotion"] or None)
        assert line["prediction"] == max(line["scores"], key=line["scores"].get)
        assert (line["speaker"], line["session"]) == (utterance.speaker, utterance.session)
        assert (line["split"], line["name"], line["kind"]) == ("train", "emotion", "single")
        assert line["modalities"] == ["audio", "text"]
    kept = [line for line in lines if line["target"]]
    assert values["wa"] == pytest.approx(np.mean([line["target"] == line["prediction"] for line in kept]))


# Checkpoints


def test_state_is_plain_and_enough(data_bin, tmp_path):
    task = task_of(data_bin, modalities="audio,text", binary_target_iemocap=True)
    cfg = model_cfg()
    model = task.build_model(cfg).eval()
    state = json.loads(json.dumps(task.state_dict()))
    assert state == task.state_dict()
    entries = OmegaConf.to_container(cfg.backbone_args)
    assert entries["text"]["args"] == {"vocabulary": 16, "dim": 8}

    gone = task_of(tmp_path / "gone", from_checkpoint=True)
    gone.load_state_dict(state)
    again = gone.build_model(cfg, from_checkpoint=True).eval()
    again.load_state_dict(model.state_dict(), strict=True)
    task.load_dataset("valid")
    data = task.dataset("valid")
    batch = data.collater([data[0], data[1]])["net_input"]
    with torch.no_grad():
        torch.testing.assert_close(again(**batch)["logits"], model(**batch)["logits"])
    assert gone.outputs == {"emotion": 8}
    assert gone.limits == task.limits


@pytest.mark.parametrize("gone", ["targets.json", "dict.txt", "pretrained"])
def test_resuming_takes_what_is_gone_from_the_checkpoint(own_data_bin, checkpoints, tmp_path, gone):
    shutil.copyfile(checkpoints / "roberta" / "dict.txt", own_data_bin / "dict.txt")
    pretrained = shutil.copytree(checkpoints / "roberta", tmp_path / "roberta")

    def build():
        model = model_cfg(text_backbone=f"roberta:{pretrained}", encoder_attention_heads=4)
        where = {"save_dir": str(tmp_path), "restore_file": "checkpoint_last.pt"}
        cfg = OmegaConf.create({"model": model, "checkpoint": where})
        task = task_of(own_data_bin, t_only=True)
        built = task.build_model(cfg.model)
        return task, built, OmegaConf.to_container(cfg)

    task, model, cfg = build()
    torch.save({"task_state": task.state_dict(), "cfg": cfg}, tmp_path / "checkpoint_last.pt")
    shutil.rmtree(pretrained) if gone == "pretrained" else (own_data_bin / gone).unlink()
    again, rebuilt, new = build()
    assert again.state_dict() == task.state_dict()
    assert new["model"] == cfg["model"]
    assert {key: value.shape for key, value in rebuilt.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
