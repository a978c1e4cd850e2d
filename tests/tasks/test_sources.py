"""Which stream a modality is read from, and why not from another."""

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest
from databin_factory import write_data_bin
from task_factory import model_cfg, task_of

from mm_fairseq.backbones import resolve
from mm_fairseq.databin import CachedStream
from mm_fairseq.databin.format import open_shard
from mm_fairseq.databin.writer import write_shard
from mm_fairseq.errors import MMFairseqError

DIM = 8
MFCC = CachedStream(
    "audio", "mfcc", {"n_mfcc": DIM, "n_fft": 400, "hop": 160, "n_mels": 16}, {}, 2000, (), "float16", DIM
)


def cache(data_bin, stream=MFCC, source=None):
    """Write made-up features, row number by row number."""
    raw, receipt = open_shard(data_bin / stream.modality, 0)
    items = [np.full((2, stream.dim), row % 16, stream.dtype) for row in range(len(raw))]
    notes = {"source": source or receipt["sha256"]["bin"]}
    write_shard(stream.write(data_bin), 0, items, stream.dtype, stream.dim, notes=notes)


def built(data_bin, model=None, **task):
    made = task_of(data_bin, modalities="audio,text", max_sample_size=2000, **task)
    made.build_model(model_cfg(**(model or {})))
    made.load_dataset("valid")
    return made


def test_cached_features_are_read(own_data_bin):
    cache(own_data_bin)
    task = built(own_data_bin)
    data = task.dataset("valid")
    inputs = data.collater([data[0], data[1]])["net_input"]
    assert inputs["inputs"]["audio"].shape == (2, 2, DIM)
    assert inputs["inputs"]["audio"][:, 0, 0].tolist() == (data.rows[:2] % 16).tolist()
    assert inputs["inputs"]["text"].dim() == 2
    raw = built(own_data_bin, backbone_source="raw").dataset("valid")
    assert raw.collater([raw[0]])["net_input"]["inputs"]["audio"].dim() == 2
    assert (raw.sizes == data.sizes).all()  # and so the batches


DIFFERENCES = {
    "another layer": ({"args": {**MFCC.args, "n_fft": 512}}, "n_fft was 512, is 400"),
    "another file": (
        {"sha256": {"file": "ab" * 32}},
        "made from a file with sha256 abababababab, the model's has none",
    ),
    "another limit": ({"longest": 2500}, r"cut at 2500, here at 2000, which makes a difference for \d+ utterances"),
    "another text": ({"symbols": (0, 7)}, r"made with the symbols \(0, 7\) around a text, here they are \(0, 2\)"),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_what_does_not_fit_is_told(own_data_bin, what, caplog):
    change, words = DIFFERENCES[what]
    cache(own_data_bin, dataclasses.replace(MFCC, **change))
    with caplog.at_level(logging.WARNING):
        assert built(own_data_bin).sources.readers == {}
    assert "audio: raw data, for the cached features do not fit: audio@mfcc-" in caplog.text
    with pytest.raises(MMFairseqError, match=rf"no cached features for audio backbone 'mfcc': audio@mfcc-.*{words}"):
        built(own_data_bin, backbone_source="cached")


def test_limits_that_cut_nothing_are_as_good(own_data_bin):
    cache(own_data_bin, dataclasses.replace(MFCC, longest=10**6))
    task = task_of(own_data_bin, modalities="audio")
    task.build_model(model_cfg(max_positions_a=5000))
    assert set(task.sources.readers) == {"audio"}


def test_the_one_that_fits_is_found_among_others(own_data_bin):
    for change in ({"longest": 100}, {"args": {}}, {"backbone": "wav2vec"}, {}):
        cache(own_data_bin, dataclasses.replace(MFCC, **change))
    assert built(own_data_bin).sources.readers["audio"].folder.name == MFCC.name


@pytest.mark.parametrize("spoil", ["cut", "gone", "other"])
def test_unfinished_or_damaged_features_are_not_read(own_data_bin, spoil, caplog):
    cache(own_data_bin, source="of other data" if spoil == "other" else None)
    path = own_data_bin / MFCC.name / "shard-00000.bin"
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    if spoil == "gone":
        path.with_suffix(".json").unlink()
    with caplog.at_level(logging.WARNING):
        assert built(own_data_bin).sources.readers == {}
    assert "mm-fairseq extract --resume" in caplog.text


def test_nothing_is_said_where_nothing_was_extracted(own_data_bin, caplog):
    with caplog.at_level(logging.WARNING):
        assert built(own_data_bin).sources.readers == {}
    assert "cached" not in caplog.text


def test_backbones_that_learn_read_raw_data(own_data_bin, checkpoints):
    shutil.copyfile(checkpoints / "roberta" / "dict.txt", own_data_bin / "dict.txt")
    cache(own_data_bin)
    model = {"text_backbone": f"roberta:{checkpoints}/roberta", "encoder_attention_heads": 4}
    with pytest.raises(MMFairseqError, match=r"text backbone 'roberta': nothing of that backbone was extracted"):
        built(own_data_bin, model, backbone_source="cached")
    task = built(own_data_bin, model | {"finetune_backbones": "text"}, backbone_source="cached")
    assert set(task.sources.readers) == {"audio"}


def codes_of(checkpoints):
    codes = f"{checkpoints}/vq_wav2vec/vq-wav2vec_kmeans.pt"
    return {"vq_wav2vec": f"vq_wav2vec:{codes}", "vq_bert": f"vq_bert:{checkpoints}/bert_kmeans,vq={codes}"}


@pytest.mark.parametrize("name", ["vq_wav2vec", "vq_bert"])
def test_codes_are_no_features_to_a_backbone_that_is_omitted(own_data_bin, checkpoints, caplog, name):
    specs = codes_of(checkpoints)
    entry = resolve({"audio": specs["vq_wav2vec"]}, set(), {}).entries["audio"]
    cache(own_data_bin, CachedStream("audio", entry["name"], entry["args"], entry["sha256"], None, (), "int16", 2))
    task = task_of(own_data_bin, modalities="audio")
    model = {"audio_backbone": specs[name], "omit_frozen_backbones": True, "encoder_attention_heads": 4}
    if name == "vq_bert":  # it has no features of its own there
        task.build_model(model_cfg(**model))
        with pytest.raises(MMFairseqError, match=r"no cached features for audio backbone 'vq_bert': nothing of that"):
            task.load_dataset("valid")
        return
    built = task.build_model(model_cfg(**model)).eval()  # the codes need its codebook
    assert "audio keeps vq_wav2vec, for its cached codes need it" in caplog.text
    task.load_dataset("valid")
    data = task.dataset("valid")
    batch = data.collater([data[0], data[1]])["net_input"]
    assert not batch["inputs"]["audio"].is_floating_point()
    assert built(**batch)["logits"]["emotion"].isfinite().all()


def test_audio_of_another_rate(own_data_bin):
    path = own_data_bin / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_rate": 8000}))
    with pytest.raises(MMFairseqError, match=r"audio of 8000 Hz; backbones need 16000 Hz"):
        built(own_data_bin)


def test_an_unknown_source(data_bin):
    with pytest.raises(MMFairseqError, match=r"--backbone-source 'disk'; allowed: auto, raw, cached"):
        task_of(data_bin, backbone_source="disk")


def test_pictures_must_be_those_that_the_model_was_built_for(tmp_path):
    folder = write_data_bin(tmp_path / "data-bin", per_class=1, frame_size=8)

    def load(size):
        made = task_of(folder, modalities="video")
        made.build_model(model_cfg(video_backbone=f"pixels:size={size}", encoder_attention_heads=1))
        made.load_dataset("valid")
        return made

    meta = json.loads((folder / "meta.json").read_text())
    size, fps = meta["frame_size"], meta["fps"]
    assert load(size).dataset("valid")
    told = rf"{size}x{size}, the video backbone takes 16x16: .*--frame-size 16, or train with --image-size {size}"
    with pytest.raises(MMFairseqError, match=told):
        load(16)
    task = load(size)
    (folder / "meta.json").write_text(json.dumps(meta | {"fps": 2 * fps}))
    del task.data_bin
    with pytest.raises(MMFairseqError, match=f"{2 * fps:g} pictures a second, the model was trained on {fps:g}: "):
        task.load_dataset("test")
