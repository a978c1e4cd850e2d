"""Models from disk: checkpoints, folders of trainings and of `save_pretrained`; damaged ones and others'."""

import json
import os
import shutil
import socket
from contextlib import contextmanager
from pathlib import Path

import hostile_files
import numpy as np
import pytest
import torch
from changed_models import NAME, changed, refused
from safetensors.torch import load_file

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import EmotionModel, NoModalityError, loading


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refused(*_):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.fixture
def clip(small_models):
    return small_models.clips()[0]


@pytest.fixture
def saved(small_models, tmp_path):
    """A folder of save_pretrained, to be changed."""
    small_models.model(NAME).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_saved_folder_is_data_and_comes_back(small_models, saved, clip, tmp_path):
    assert set(tree(saved)) == {"config.json", "model.safetensors", "encoder.json", "vocab.bpe"}
    weights = load_file(saved / "model.safetensors")
    state = small_models.model(NAME).model.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
    about = json.loads((saved / "config.json").read_text("utf-8"))
    assert (about["format"], about["model"]["_name"]) == (1, NAME)
    assert str(small_models.folder) not in json.dumps(about["state"])  # nothing of it points to the training's files
    with EmotionModel.from_pretrained(saved) as model:
        assert (model.architecture, model.modalities) == (NAME, ("audio", "text"))
        assert model.predict(clip.video, text=clip.text) == small_models.model(NAME).predict(clip.video, text=clip.text)
        model.save_pretrained(tmp_path / "again")
    assert tree(tmp_path / "again") == tree(saved)


@pytest.mark.parametrize("failing", ["model.safetensors", "vocab.bpe", "config.json"])
def test_a_model_that_could_not_be_saved_leaves_the_old_one(saved, small_models, monkeypatch, failing):
    before, write = tree(saved), loading.open_atomic

    @contextmanager
    def full(path):
        with write(path) as file:
            if path.name == failing:
                raise OSError(28, "No space left on device", str(path))
            yield file

    monkeypatch.setattr(loading, "open_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        small_models.model("av_graph").save_pretrained(saved)
    assert tree(saved) == before


def test_a_kill_between_two_files_leaves_no_mixture(saved, small_models, monkeypatch):
    write = loading.open_atomic

    @contextmanager
    def killed(path):
        with write(path) as file:
            yield file
            if path.name == "config.json":
                raise KeyboardInterrupt

    monkeypatch.setattr(loading, "open_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        small_models.model("av_graph").save_pretrained(saved)
    refused(saved, r"neither config\.json of a saved model nor a checkpoint")


def test_a_checkpoint_or_the_folder_of_a_training(small_models, tmp_path, clip):
    path = small_models.checkpoint(NAME)
    shutil.copyfile(path, tmp_path / "other.pt")
    expected = small_models.model(NAME).predict(clip.video)
    for place, options in ((path.parent, {}), (tmp_path, {"checkpoint_file": "other.pt"}), (str(path), {})):
        with EmotionModel.from_pretrained(place, **options) as model:
            assert model.predict(clip.video) == expected
    refused(tmp_path, r"no checkpoint_best\.pt in this folder; it has other\.pt")


def test_nothing_of_the_training_is_needed(small_models, clip):
    """Data-bin, corpus and pretrained files are elsewhere."""
    path = small_models.checkpoint("ssl_fusion")
    expected = small_models.model("ssl_fusion").predict(clip.video, text=clip.text)
    places = [small_models.data_bin, small_models.prepared, small_models.pretrained]
    try:
        for place in places:
            place.rename(place.with_name(f"{place.name}-away"))
        with EmotionModel.from_pretrained(path) as model:
            assert model.predict(clip.video, text=clip.text) == expected
    finally:
        for place in places:
            place.with_name(f"{place.name}-away").rename(place)


def test_an_earlier_checkpoint_without_its_tokeniser(small_models, tmp_path, clip):
    path = changed(small_models, tmp_path, lambda state: state["task_state"].pop("tokenizer"))
    with EmotionModel.from_pretrained(path) as model:
        answer = model.predict(clip.video, text=clip.text)
        assert answer == small_models.model(NAME).predict(clip.video)
        assert answer.modalities == ["audio"]
        [note] = answer.notes
        assert note[:2] == ("text", "no_tokenizer")
        assert "lacks its tokeniser" in note.message
        assert "answered without it" in note.message
        assert model.predict(clip.video).notes == ()
        with pytest.raises(NoModalityError, match=r"lacks its tokeniser.* train it once more"):
            model.predict(text=clip.text)


def test_what_is_not_there(tmp_path):
    refused(tmp_path / "nowhere.pt", "no such checkpoint file")
    refused(tmp_path, "neither config.json of a saved model nor a checkpoint")


def test_files_of_others(small_models, tmp_path):
    refused(small_models.pretrained / "wav2vec/wav2vec.pt", "a checkpoint of the task 'audio_pretraining'")
    refused(small_models.pretrained / "roberta/model.pt", "a checkpoint of the task 'masked_lm'")
    refused(small_models.pretrained / "fabnet/fabnet.pt", "not a checkpoint of a training of this package")
    path = changed(small_models, tmp_path, lambda state: state["cfg"]["model"].update(_name="transformer"))
    refused(path, "architecture 'transformer' is not one of this package")
    path = changed(small_models, tmp_path, lambda state: state.update(task_state={}))
    refused(path, "says nothing of targets, dictionary, meta, modalities")


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "readable|damaged"), (b"PK\3\4 cut", "readable|damaged"), (b"id\tlabel\n", "readable|damaged")],
)
def test_files_that_are_none(tmp_path, content, match):
    (tmp_path / "model.pt").write_bytes(content)
    refused(tmp_path / "model.pt", match)


def test_what_else_is_given_as_a_checkpoint_is_called_what_it_is(small_models, tmp_path):
    refused(small_models.data_bin, "it is a data-bin of `mm-fairseq binarize`; give what fairseq-train wrote")
    refused(small_models.prepared, "it is a corpus of `mm-fairseq prepare`; give what fairseq-train wrote")
    (tmp_path / "film.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST" * 90)
    refused(tmp_path / "film.avi", "not a checkpoint, or a damaged one: its first bytes are not those of a checkpoint")
    np.savez(tmp_path / "a.npz", audio=np.zeros(9))
    refused(tmp_path / "a.npz", "not a")


def test_a_damaged_checkpoint(small_models, tmp_path):
    path = small_models.checkpoint(NAME)
    raw = path.read_bytes()
    for place in (100, len(raw) // 2, len(raw) - 3):
        (tmp_path / "model.pt").write_bytes(raw[:place])
        refused(tmp_path / "model.pt", "readable|damaged")
    # One bit of a weight is found by the sum beside it.
    flipped = bytearray(raw)
    flipped[len(raw) // 2] ^= 1
    (tmp_path / "model.pt").write_bytes(flipped)
    shutil.copyfile(f"{path}.sha256", tmp_path / "model.pt.sha256")
    refused(tmp_path / "model.pt", "damaged")


CONFIGS = {
    "no JSON": (lambda about: "{", "damaged"),
    "brackets": (lambda about: "[" * 200_000, "damaged"),
    "a list": (lambda about: [about], "damaged"),
    "another format": (lambda about: about | {"format": 2}, r"config\.json: format 2; this version reads 1"),
    "no state": (lambda about: about | {"state": {}}, "damaged"),
    "no targets": (lambda about: _state(about, targets=[]), "no targets"),
    "targets of words": (lambda about: _state(about, targets=["emotion"]), "targets are damaged"),
    "a target without classes": (lambda about: _state(about, targets=[{"name": "emotion"}]), "targets are damaged"),
    "a target twice": (
        lambda about: _state(about, targets=[about["state"]["targets"][0]] * 2),
        "targets are damaged .*two of one name",
    ),
    "classes of numbers": (
        lambda about: _state(about, targets=[{**each, "classes": [1, 2]} for each in about["state"]["targets"]]),
        "targets are damaged .*no word",
    ),
    "a target of another kind": (
        lambda about: _state(about, targets=[about["state"]["targets"][0] | {"kind": "ordinal"}]),
        "ordinal",
    ),
    "one class more": (
        lambda about: _state(
            about, targets=[{**each, "classes": [*each["classes"], "bored"]} for each in about["state"]["targets"]]
        ),
        "the weights do not fit the options",
    ),
    "how the data-bin was made": (lambda about: _state(about, meta={}), "how its data-bin was made is not told"),
    "modalities": (lambda about: _state(about, modalities=3), "modalities 3: expected each of audio, text, video once"),
    "a modality without a backbone": (
        lambda about: _state(about, modalities=["audio", "text", "smell"]),
        r"modalities \['audio', 'text', 'smell'\]: expected",
    ),
    "a modality twice": (lambda about: _state(about, modalities=["audio", "audio"]), "modalities"),
    "a backbone less": (lambda about: _state(about, modalities=["audio"]), "that has a backbone"),
    "backbones of words": (lambda about: _model(about, backbone_args="${oc.env:HOME}"), "modalities"),
    "pictures without end": (lambda about: _meta(about, fps=1e6), "fps 1000000.0: a number from 0.01 to 1,000"),
    "no pictures": (lambda about: _meta(about, fps=0), "fps 0: a number from"),
    "pictures of no number": (lambda about: _meta(about, fps=float("nan")), "fps nan"),
    "infinitely many": (lambda about: _meta(about, fps=float("inf")), "fps inf"),
    "pictures by a word": (lambda about: _meta(about, fps="5"), "fps '5'"),
    "large pictures": (
        lambda about: _meta(about, frame_size=2**20),
        "frame_size 1048576: a whole number from 8 to 4,096",
    ),
    "half a pixel": (lambda about: _meta(about, frame_size=32.5), "frame_size 32.5"),
    "faces": (lambda about: _meta(about, faces="none of them"), "faces 'none of them': known are detect, center, none"),
    "years": (lambda about: _meta(about, settings={"max_seconds": 1e9}), "max_seconds 1000000000.0"),
    "for ever": (lambda about: _meta(about, settings={"max_seconds": float("inf")}), "max_seconds inf"),
    "much at once": (
        lambda about: _meta(about, fps=1000, settings={"max_seconds": 1e5}),
        "clips of up to 100000 s, 1000 pictures a second, .* too much memory: give --max-seconds",
    ),
    "frames of features": (lambda about: _meta(about, streams=_streams(dim="8")), "features of audio: '8' a frame"),
    "another width of features": (lambda about: _meta(about, streams=_streams(dim=-1)), "features of audio: -1"),
    "a tokeniser without a name": (
        lambda about: _meta(about, tokenizer={"name": 5, "files": []}),
        "its name and files",
    ),
    "a dictionary of numbers": (lambda about: _state(about, dictionary=[1, 2]), "does not consist of words"),
    "the longest input": (
        lambda about: _task(about, max_sample_size="x"),
        "max_sample_size 'x': a whole number from 0",
    ),
    "a symbol": (lambda about: _task(about, init_token=True), "init_token True: a whole number from -1 on"),
    "a tokeniser elsewhere": (
        lambda about: _state(about, tokenizer=["../owned"]),
        r"config\.json: tokenizer file '\.\./owned': expected a name in the folder",
    ),
    "a tokeniser that is a folder": (lambda about: _state(about, tokenizer=[".."]), r"tokenizer file '\.\.'"),
    "a tokeniser without a name of its file": (lambda about: _state(about, tokenizer=[""]), "tokenizer file ''"),
    "a tokeniser that is the options": (
        lambda about: _state(about, tokenizer=["config.json"]),
        r"tokenizer file 'config\.json': .* other than config\.json",
    ),
    "a tokeniser that is not there": (lambda about: _state(about, tokenizer=["gone.json"]), r"gone\.json: missing"),
    "another width": (lambda about: _model(about, d_model=64), "the weights do not fit the options"),
    "terabytes": (lambda about: _model(about, d_model=2**22), "ask for a model of more than"),
    "a program": (lambda about: _model(about, adam_betas=hostile_files.EVAL), "adam_betas"),
    "the environment": (lambda about: _model(about, d_model="${oc.env:HOME}"), "d_model|HOME"),
    "another architecture": (lambda about: _model(about, _name="transformer"), "architecture 'transformer'"),
}


def _state(about, **values):
    return about | {"state": about["state"] | values}


def _meta(about, **values):
    return _state(about, meta=about["state"]["meta"] | values)


def _streams(dim):
    return {name: {"dim": dim} for name in ("audio", "text")}


def _task(about, **values):
    return about | {"task": about["task"] | values}


def _model(about, **values):
    return about | {"model": about["model"] | values}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_was_changed(saved, monkeypatch, name):
    monkeypatch.chdir(saved)
    change, match = CONFIGS[name]
    about = change(json.loads((saved / "config.json").read_text("utf-8")))
    (saved / "config.json").write_text(about if isinstance(about, str) else json.dumps(about))
    refused(saved, match)
    assert not (saved / "owned").exists()
    assert not (saved.parent / "owned").exists()


def test_weights_that_are_not_there_or_damaged(saved, tmp_path):
    weights = saved / "model.safetensors"
    raw = weights.read_bytes()
    contents = [b"", raw[:4], raw[: len(raw) // 2], b"\xff" * 8 + raw[8:]]
    tricks = hostile_files.folders(tmp_path)
    contents += [(path / weights.name).read_bytes() for path in tricks.values() if (path / weights.name).is_file()]
    assert len(contents) > 7
    for content in contents:
        weights.write_bytes(content)
        refused(saved, "damaged")
    weights.unlink()
    refused(saved, r"model\.safetensors: missing: the folder is not complete")


NAMES = [
    "../escaped.txt",
    "/tmp/mm-fairseq-escaped.txt",
    "a/b",
    "",
    ".",
    "..",
    "config.json",
    "model.safetensors",
    "a\0b",
    5,
]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_a_tokeniser_stay_in_the_folder(small_models, tmp_path, name):
    path = changed(small_models, tmp_path, lambda state: state["task_state"]["tokenizer"].update({name: b"evil"}))
    refused(path, "tokenizer file .*: expected a name in the folder")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["vocab.bpe", "model.safetensors"])
def test_what_is_no_file_is_not_read(saved, name, make):
    (saved / name).unlink()
    make(saved / name)
    refused(saved, f"{name}: not a regular file")


def test_symbols_that_the_weights_lack(saved):
    about = json.loads((saved / "config.json").read_text("utf-8"))
    (saved / "config.json").write_text(json.dumps(_task(about, init_token=1 << 30)))
    with EmotionModel.from_pretrained(saved) as model, pytest.raises(MMFairseqError, match="its weights lack symbols"):
        model.predict(text="how nice")


def test_how_long_a_clip_may_be_is_asked_for_where_it_is_not_sane(saved, clip):
    about = json.loads((saved / "config.json").read_text("utf-8"))
    about = _meta(about, fps=1000, settings={"max_seconds": 1e5})
    (saved / "config.json").write_text(json.dumps(about))
    with EmotionModel.from_pretrained(saved, max_seconds=9) as model:
        assert model.predict(clip.video).modalities == ["audio"]


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e7, "60", True])
def test_no_length_of_a_clip(saved, value):
    with pytest.raises(MMFairseqError, match=f"max_seconds {value!r}: a number above 0, at most 1,000,000, is needed"):
        EmotionModel.from_pretrained(saved, max_seconds=value)


def test_a_device_that_is_not_there(small_models):
    for name in ("abacus", "cuda:99", "meta"):
        with pytest.raises(MMFairseqError, match=f"device '{name}'"):
            EmotionModel.from_pretrained(small_models.checkpoint(NAME), device=name)


def test_weights_are_held_once(small_models):
    model = small_models.model(NAME)
    held = {weight.data_ptr() for weight in model.model.state_dict().values()}
    assert {weight.data_ptr() for weight in model._loaded.weights.values()} == held
