"""What a checkpoint keeps of the task, and what becomes of it in validation."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from databin_factory import EVERY_KIND
from omegaconf import OmegaConf
from task_factory import checkpoint_task, criterion_of, model_cfg, state_of, task_of

from mm_fairseq.errors import MMFairseqError

# Withheld modalities


@pytest.mark.parametrize(
    ("trained", "options", "expected"),
    [
        ({"modalities": "audio,text"}, {"modalities": "audio,text"}, ["audio", "text"]),
        ({"modalities": "audio,text"}, {"modalities": "text"}, ["text"]),
        ({}, {}, ["audio", "text", "video"]),
        ({}, {"modalities": "video, audio"}, ["audio", "video"]),
        ({}, {"t_only": True}, ["text"]),
        ({"a_only": True, "t_only": True}, {"a_only": True, "t_only": True, "modalities": "text"}, ["text"]),
    ],
)
def test_modalities_of_a_validation(data_bin, trained, options, expected):
    """What is not named is withheld; the options of the training come along."""
    state = state_of(task_of(data_bin, **trained))
    task = checkpoint_task(data_bin, state, **options)
    assert task.given == expected
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    assert dataset.modalities == state["modalities"]  # the model is built for all of them
    assert [name for name in dataset.modalities if dataset.lengths[name][:].any()] == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": "video"}, r"modality 'video' is not in the checkpoint; it has audio, text"),
        ({"modalities": "audio,smell"}, r"modality 'smell' is not in the checkpoint; it has audio, text"),
        ({"all_in": True}, r"modality 'video' is not in the checkpoint"),
        ({"modalities": "text", "a_only": True}, r"--modalities text contradicts the flags for audio"),
    ],
)
def test_contradicting_modalities_of_a_validation(data_bin, options, words):
    state = state_of(task_of(data_bin, modalities="audio,text"))
    with pytest.raises(MMFairseqError, match=words):
        checkpoint_task(data_bin, state, **options).load_dataset("valid")


def test_a_data_bin_of_other_targets(data_bin, own_data_bin):
    state = state_of(task_of(data_bin))
    (target,) = json.loads((own_data_bin / "targets.json").read_text())
    for kept in (True, False):
        (own_data_bin / "targets.json").write_text(
            json.dumps([target | {"name": "event"}, *([target] if kept else [])])
        )
        task = checkpoint_task(own_data_bin, state)
        if kept:
            task.load_dataset("valid")
        else:
            with pytest.raises(MMFairseqError, match="its targets are event, the model answers emotion"):
                task.load_dataset("valid")


# Counts of train


def test_positives_are_counted_in_train(every_kind):
    task = task_of(every_kind)
    utterances = task.data_bin.manifest.utterances
    for target in EVERY_KIND:
        labels = [row.labels[target.name] for row in utterances if row.labels[target.name]]
        assert len(labels) < len(utterances)
        if target.classes:
            positives, items = task.positives[target.name]
            assert positives.tolist() == [sum(each in label.split("|") for label in labels) for each in target.classes]
            assert items == len(labels)
    assert set(task.positives) == {"emotion", "each", "events"}


def test_positives_are_those_of_the_fold(own_data_bin):
    rows = np.array([0, 4, 8, 1, 2])
    np.save(own_data_bin / "splits" / "official" / "1" / "train.npy", rows)
    positives, items = task_of(own_data_bin).positives["emotion"]
    assert (positives.tolist(), items) == ([3, 1, 1, 0], 5)


def test_a_class_that_train_lacks_is_named(own_data_bin, caplog):
    np.save(own_data_bin / "splits" / "official" / "1" / "train.npy", np.array([0, 1, 2, 4]))
    task = task_of(own_data_bin)
    with caplog.at_level(logging.WARNING):
        weights = criterion_of(task, class_weights="balanced").options["emotion"].weights
    assert "train lacks hap of target 'emotion', to be neither weighted nor learnt" in caplog.text
    assert weights.tolist() == pytest.approx([4 / (4 * 2), 1, 1, 1])


@pytest.mark.parametrize(
    ("options", "needed"),
    [({}, False), ({"class_weights": "1,2,3,4"}, False), ({"class_weights": "balanced"}, True)],
)
def test_positives_are_saved_where_the_loss_needs_them(own_data_bin, options, needed):
    task = task_of(own_data_bin)
    expected = criterion_of(task, **options).options["emotion"].weights
    state = state_of(task)
    assert ("positives" in state) == needed
    (own_data_bin / "splits" / "official" / "1" / "train.npy").unlink()  # as it may be where a model is only used
    again = criterion_of(checkpoint_task(own_data_bin, state), **options).options["emotion"].weights
    assert (again is None and expected is None) or torch.equal(again, expected)


def test_attributes_are_what_no_target_takes(every_kind, data_bin):
    assert task_of(every_kind).state.attributes == ["style"]
    assert task_of(every_kind, targets="events").state.attributes == ["style"]
    assert task_of(data_bin).state.attributes == []


# Checkpoints


def test_state_is_plain_and_enough(data_bin, tmp_path):
    task = task_of(data_bin, modalities="audio,text", binary_target_iemocap=True)
    cfg = model_cfg()
    model = task.build_model(cfg).eval()
    criterion_of(task, class_weights="balanced")
    state = json.loads(json.dumps(task.state_dict()))
    assert state == task.state_dict()
    names = {"meta", "targets", "dictionary", "tokenizer", "modalities", "attributes", "run", "positives"}
    assert set(state) == names
    torch.save(task.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == state
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("file", r"checkpoint_last\.pt was begun with another text backbone: sha256 was .* is "),
        ("layer", r"another text backbone: args was "),
        ("other", r"another text backbone: name was roberta, is embedding"),
        ("omitted", r"another text backbone: omitted was True, is False"),
        ("modalities", r"another audio backbone: name was none, is mfcc"),
    ],
)
def test_resuming_with_another_backbone_is_refused(own_data_bin, checkpoints, tmp_path, change, words):
    shutil.copyfile(checkpoints / "roberta" / "dict.txt", own_data_bin / "dict.txt")
    pretrained = shutil.copytree(checkpoints / "roberta", tmp_path / "roberta")

    def build(text=f"roberta:{pretrained}", modalities="text", **options):
        model = model_cfg(text_backbone=text, encoder_attention_heads=4, **options)
        where = {"save_dir": str(tmp_path), "restore_file": "checkpoint_last.pt"}
        cfg = OmegaConf.create({"model": model, "checkpoint": where})
        task = task_of(own_data_bin, modalities=modalities)
        task.build_model(cfg.model)
        return task, OmegaConf.to_container(cfg)

    task, cfg = build(omit_frozen_backbones=change == "omitted")
    torch.save({"task_state": task.state_dict(), "cfg": cfg}, tmp_path / "checkpoint_last.pt")
    if change != "omitted":
        build()  # the same goes on
    if change == "file":
        state = torch.load(pretrained / "model.pt", weights_only=True)
        state["model"]["encoder.sentence_encoder.layers.0.fc1.weight"] *= 2
        torch.save(state, pretrained / "model.pt")
    again = {"layer": {"text": f"roberta:{pretrained},layer=1"}, "other": {"text": "embedding:dim=8"}}
    again["modalities"] = {"modalities": "audio,text"}
    with pytest.raises(MMFairseqError, match=words):
        build(**again.get(change, {}))


def test_text_model_and_dictionary_must_name_the_same_symbols(own_data_bin, checkpoints):
    lines = (checkpoints / "roberta" / "dict.txt").read_text().splitlines()
    lines[0], lines[1] = lines[1], lines[0]
    (own_data_bin / "dict.txt").write_text("\n".join(lines) + "\n")
    task = task_of(own_data_bin, t_only=True)
    with pytest.raises(MMFairseqError, match=r"dict\.txt:1: .* the data-bin's dict\.txt differs: binarize with the"):
        task.build_model(model_cfg(text_backbone=f"roberta:{checkpoints}/roberta", encoder_attention_heads=4))


@pytest.mark.parametrize("content", [b"\xff\xfe 1\n", b"word\n", b"word 1\nword 1\n", b"<unk> 3\n"])
def test_a_damaged_dictionary_is_named(own_data_bin, content):
    (own_data_bin / "dict.txt").write_bytes(content)
    with pytest.raises(MMFairseqError, match=r"dict\.txt"):
        task_of(own_data_bin, t_only=True).build_model(model_cfg())


@pytest.mark.parametrize("change", ["tokenizer", "dictionary"])
def test_a_checkpoint_is_not_used_on_other_symbols(own_data_bin, change):
    state = state_of(task_of(own_data_bin, t_only=True))
    checkpoint_task(own_data_bin, state, t_only=True).load_dataset("valid")
    if change == "tokenizer":
        path = own_data_bin / "meta.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer": {"sha256": ["ab"]}}))
    else:
        path = own_data_bin / "dict.txt"
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(MMFairseqError, match=r"its texts are in other symbols than those that the model"):
        checkpoint_task(own_data_bin, state, t_only=True).load_dataset("valid")
