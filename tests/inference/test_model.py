"""What a model answers: every kind of target, batches, what is withheld, what cannot be answered."""

import json
import shutil

import fairseq_cli.train
import numpy as np
import pytest
from commands import TRAIN
from databin_factory import EVERY_KIND, write_data_bin
from feature_factory import to_features
from trainings import CPU, call, validate

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import Clip, EmotionModel, NoModalityError

RATE = 16000
TINY = ["--encoder-layers", 1, "--encoder-layers-cross", 1, "--embed-dim", 16, "--encoder-ffn-embed-dim", 32]
SHORT = ["--batch-size", 8, "--max-update", 2, "--no-epoch-checkpoints", "--no-last-checkpoints"]


def told(data_bin):
    """The same made-up data-bin, which says how `binarize` would have made it."""
    meta = json.loads((data_bin / "meta.json").read_text())
    meta |= {"faces": "none", "settings": {"max_seconds": 60.0}, "tokenizer": {"name": "words", "files": []}}
    for stream in meta["streams"].values():
        stream.setdefault("dim", 0)
    (data_bin / "meta.json").write_text(json.dumps(meta))
    return data_bin


def trained(data_bin, folder, *options):
    """A tiny ssl_fusion."""
    args = ["--arch", "ssl_fusion", *TINY, *SHORT, *CPU, "--save-dir", folder, *options]
    call(fairseq_cli.train.cli_main, [data_bin, *TRAIN, *args])
    return EmotionModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    folder = tmp_path_factory.mktemp("every_kind")
    data_bin = told(write_data_bin(folder / "data-bin", frame_size=16, every_kind=True))
    with trained(data_bin, folder / "run", "--modalities", "audio,text") as model:
        yield model


@pytest.fixture
def sound():
    return np.random.default_rng(1).integers(-9000, 9000, 8000).astype(np.int16)


def test_every_kind_of_target(every_kind, sound):
    answer = every_kind.predict(audio=sound, sampling_rate=RATE, text="w1 w3")
    assert [target.name for target in every_kind.targets] == [target.name for target in EVERY_KIND]
    assert list(answer.targets) == [target.name for target in EVERY_KIND]
    for target in EVERY_KIND:
        ranked, kind = answer.targets[target.name], every_kind.kinds[target.name]
        scores = [entry["score"] for entry in ranked]
        assert scores == sorted(scores, reverse=True)
        labels = {entry["label"] for entry in ranked}
        assert labels == (set(target.classes) if target.kind != "regression" else {target.name})
        [probabilities] = every_kind.scores([every_kind.read(Clip(audio=sound, sampling_rate=RATE, text="w1 w3"))])[
            target.name
        ]
        assert answer.predictions[target.name] == kind.decode(probabilities)["prediction"]
    assert sum(entry["score"] for entry in answer) == pytest.approx(1)
    assert answer.predictions["emotion"] == answer[0]["label"]
    assert answer.targets["sentiment"] == [{"label": "sentiment", "score": answer.predictions["sentiment"]}]
    assert isinstance(answer.predictions["events"], list)


def test_the_best_labels_alone(every_kind, sound):
    every = every_kind.predict(audio=sound, sampling_rate=RATE, text="w1")
    best = every_kind.predict(audio=sound, sampling_rate=RATE, text="w1", top_k=2)
    assert best == every[:2]
    assert best.targets == {name: ranked[:2] for name, ranked in every.targets.items()}
    assert best.predictions == every.predictions
    for number in (0, 1.5):
        with pytest.raises(MMFairseqError, match=f"top_k {number}: a whole number from 1 on"):
            every_kind.predict(audio=sound, sampling_rate=RATE, top_k=number)


def test_an_answer_is_plain_data(every_kind, sound):
    answer = every_kind.predict(audio=sound, sampling_rate=RATE)
    plain = json.loads(json.dumps(answer.to_json()))
    assert plain == answer.to_json()
    assert (plain["modalities"], plain["seconds"], plain["notes"]) == (["audio"], 0.5, [])
    assert plain["targets"]["emotion"] == answer


def test_an_answer_shows_all_that_it_says(every_kind, sound):
    answer = every_kind.predict(audio=sound * 0, sampling_rate=RATE, top_k=1)
    targets, notes = answer.targets, list(answer.notes)
    assert list(targets) == [target.name for target in EVERY_KIND]
    assert [note.code for note in notes] == ["silent"]
    assert repr(answer) == f"Answer(targets={targets!r}, modalities=['audio'], notes={notes!r})"
    assert list(answer) == targets["emotion"]


def test_what_is_withheld_is_as_what_is_not_there(every_kind, sound):
    whole = every_kind.predict(audio=sound, sampling_rate=RATE, text="w1 w2")
    heard = every_kind.predict(audio=sound, sampling_rate=RATE)
    assert every_kind.predict(audio=sound, sampling_rate=RATE, text="w1 w2", without=["text"]) == heard != whole
    inputs = every_kind.read(Clip(audio=sound, sampling_rate=RATE, text="w1 w2"))
    assert every_kind.answer([inputs.without({"text"})])[0] == heard
    with pytest.raises(MMFairseqError, match="no modality is left: the model reads audio, text"):
        every_kind.predict(audio=sound, sampling_rate=RATE, without=["audio", "text"])
    with pytest.raises(MMFairseqError, match="modality 'sound': known are audio, text, video"):
        every_kind.predict(audio=sound, sampling_rate=RATE, without=["sound"])


def test_nothing_that_the_model_reads(every_kind):
    for given in ({}, {"text": " \n"}, {"video": np.zeros((3, 8, 8, 3), np.uint8), "fps": 5.0}):
        with pytest.raises(NoModalityError, match="nothing is given of audio, text, which the model reads") as error:
            every_kind.predict(**given)
        assert error.value.codes == {}


def test_batches_do_not_matter(every_kind):
    rng = np.random.default_rng(2)
    clips = [
        Clip(f"c{n}", audio=rng.uniform(-0.5, 0.5, 900 * (n + 1)), text=" ".join(["w3"] * (n % 4)), sampling_rate=RATE)
        for n in range(11)
    ]
    expected = [every_kind.answer([every_kind.read(clip)])[0] for clip in clips]
    for size in (1, 4, 64):
        for one, other in zip(every_kind.answers(clips, batch_size=size), expected, strict=True):
            assert one.id == other.id
            assert [entry["score"] for entry in one] == pytest.approx([entry["score"] for entry in other], abs=1e-5)
    assert every_kind.answer([]) == list(every_kind.answers([])) == []
    with pytest.raises(MMFairseqError, match="batch_size 0: at least 1"):
        list(every_kind.answers(clips, batch_size=0))


def test_a_clip_that_cannot_be_answered_names_itself_or_is_left_out(every_kind, sound):
    clips = [
        Clip("one", audio=sound, sampling_rate=RATE),
        Clip("bad", audio=sound[:9], sampling_rate=RATE),
        Clip("three", audio=sound, sampling_rate=RATE),
    ]
    with pytest.raises(NoModalityError, match="bad: no modality is left: audio: 9 samples") as error:
        list(every_kind.answers(clips))
    assert error.value.codes == {"audio": "too_short"}
    failed = []
    found = list(every_kind.answers(clips, failed=lambda clip, error: failed.append((clip.id, str(error)))))
    assert [answer.id for answer in found] == ["one", "three"]
    assert [name for name, _ in failed] == ["bad"]


def test_a_score_that_is_no_number_is_told(every_kind, sound, monkeypatch):
    kind = every_kind.kinds["sentiment"]
    monkeypatch.setattr(kind, "probabilities", lambda logits: logits[:, 0] * float("nan"))
    with pytest.raises(MMFairseqError, match="the model's prediction of 'sentiment' is not a finite number for c1"):
        every_kind.answer([every_kind.read(Clip("c1", audio=sound, sampling_rate=RATE))])


def test_after_close_it_answers_again(every_kind, small_models):
    clip = small_models.clips()[0]
    before = every_kind.predict(clip.video)
    every_kind.close()
    assert every_kind.predict(clip.video) == before


@pytest.fixture(scope="module")
def of_features(tmp_path_factory):
    """A model of features of 5 and 3 numbers a frame, its data-bin, and what fairseq-validate says of it."""
    folder = tmp_path_factory.mktemp("features")
    data_bin = told(to_features(write_data_bin(folder / "data-bin", frame_size=16), {"audio": 5, "text": 3}))
    options = ["--modalities", "audio,text", "--audio-backbone", "features", "--text-backbone", "features"]
    with trained(data_bin, folder / "run", *options) as model:
        validate(data_bin, folder / "run" / "checkpoint_best.pt", folder, "--valid-subset", "test", "--batch-size", 3)
        rows = [json.loads(line) for line in (folder / "test" / "predictions.jsonl").read_text().splitlines()]
        yield model, rows


def features_of(row):
    """What `to_features` stored."""
    length = (5, 1, 3, 2)[row % 4]
    return {name: np.full((length, dim), row / 100, np.float32) for name, dim in {"audio": 5, "text": 3}.items()}


def test_features_in_arrays_and_in_files(of_features, tmp_path):
    model, rows = of_features
    for line in rows:
        features = features_of(int(line["id"].removeprefix("utt")))
        np.savez(tmp_path / "clip.npz", **features)
        for given in (features, tmp_path / "clip.npz"):
            answer = model.predict(features=given)
            scores = {entry["label"]: entry["score"] for entry in answer}
            assert scores == pytest.approx(line["scores"], abs=1e-5)
            assert (answer.modalities, answer.seconds, answer.notes) == (["audio", "text"], None, ())


def test_features_of_another_form(of_features):
    model, _ = of_features
    good = features_of(1)
    for shape in ((4, 6), (4,), (0, 5)):
        answer = model.predict(features=good | {"audio": np.zeros(shape, np.float32)})
        assert answer.modalities == ["text"]
        assert [note.modality for note in answer.notes] == ["audio"]
    with pytest.raises(NoModalityError, match=r"\(T, 5\) finite numbers are read"):
        model.predict(features={"audio": np.full((2, 5), np.nan)})
    with pytest.raises(MMFairseqError, match="no such file"):
        model.predict(features="nowhere.npz")


def test_frozen_backbones_that_were_left_out(small_models, tmp_path):
    from mm_fairseq.cli import main

    data_bin = shutil.copytree(small_models.data_bin, tmp_path / "data-bin")
    roberta = f"roberta:{small_models.pretrained / 'roberta'}"
    assert main(["extract", str(data_bin), "--backbone", f"text={roberta}", "--workers", "1"]) == 0
    options = ["--modalities", "audio,text", "--text-backbone", roberta, "--omit-frozen-backbones"]
    with trained(data_bin, tmp_path / "run", *options, "--audio-backbone", "mfcc") as model:
        clip = small_models.clips()[0]
        with pytest.raises(MMFairseqError, match=r"--omit-frozen-backbones, it lacks the text backbone 'roberta'"):
            model.predict(clip.video, text=clip.text)
        assert model.predict(clip.video, text=clip.text, without=["text"]).modalities == ["audio"]
        model.save_pretrained(tmp_path / "saved")
        with EmotionModel.from_pretrained(tmp_path / "saved") as saved:
            assert saved.predict(clip.video) == model.predict(clip.video)
