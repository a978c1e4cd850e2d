"""Answers are those of fairseq-validate for the same utterances, however a clip is given and a model is loaded."""

import contextlib
import dataclasses
import json
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest
from fairseq import checkpoint_utils
from small_models import MODALITIES, UTTERANCES
from trainings import validate

from mm_fairseq.cli import main
from mm_fairseq.inference import EmotionModel
from mm_fairseq.media.audio import read_audio

ALIKE = 1e-5
FPS = 12  # of the toy clips
SPLITS = [
    pytest.param(("valid", "test"), id="26 clips"),
    pytest.param(("train", "valid", "test"), id="all clips", marks=pytest.mark.slow),
]
FEW = 6
BATCH = 5
SUBSETS = [
    pytest.param(name, subset, id=f"{name} {'+'.join(subset)}")
    for name, modalities in MODALITIES.items()
    for size in range(len(modalities), 0, -1)
    for subset in combinations(modalities, size)
]


def scores_of(answers):
    """(id, target) to {label: score}."""
    return {
        (answer.id, target): {entry["label"]: entry["score"] for entry in ranked}
        for answer in answers
        for target, ranked in answer.targets.items()
    }


def assert_alike(found, expected):
    assert found.keys() == expected.keys()
    for key, scores in expected.items():
        assert found[key] == pytest.approx(scores, abs=ALIKE, rel=0), key


def batches(model, inputs):
    """Answers in batches."""
    return [answer for at in range(0, len(inputs), BATCH) for answer in model.answer(inputs[at : at + BATCH])]


@pytest.fixture(scope="module")
def inputs_of(small_models):
    """Architecture and splits to the inputs of their clips, decoded once."""
    known = {}

    def get(architecture, *splits):
        if (architecture, *splits) not in known:
            reader = small_models.model(architecture).reader
            known[architecture, *splits] = list(reader.read_all(small_models.clips(*splits)))
        return known[architecture, *splits]

    return get


@pytest.fixture(scope="module")
def client_of(small_models, tmp_path_factory):
    """Architecture to a client of a server with its model, begun once."""
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from mm_fairseq.inference.server.app import create_app
    from mm_fairseq.inference.server.limits import Limits
    from mm_fairseq.inference.server.work import SharedModel

    known = {}
    with contextlib.ExitStack() as stack:

        def get(architecture):
            if architecture not in known:
                model = SharedModel.from_pretrained(small_models.checkpoint(architecture), max_seconds=60.0)
                app = create_app(model, Limits(), tmp_path_factory.mktemp("served"))
                known[architecture] = stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))
            return known[architecture]

        yield get


def served(client, clip, withheld):
    """What the server says of a clip: target to {label: score}."""
    sent = {"files": {"clip": (clip.video.name, clip.video.read_bytes())}}
    reply = client.post("/api/predict", **sent, data={"text": clip.text, "without": sorted(withheld)})
    assert reply.status_code == 200, reply.text
    return {name: {each["label"]: each["score"] for each in it} for name, it in reply.json()["targets"].items()}


def commanded(path, prepared, withheld, out):
    """What `mm-fairseq predict` says of a corpus: (id, target) to {label: score}."""
    words = ["--checkpoint", path, "--manifest", prepared, "--output", out, *(f"--no-{name}" for name in withheld)]
    assert main(["predict", *map(str, words)]) == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    return {
        (row["id"], target): {each["label"]: each["score"] for each in ranked}
        for row in rows
        for target, ranked in row["targets"].items()
    }


@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize(("architecture", "subset"), SUBSETS)
def test_answers_are_those_of_fairseq_validate(
    small_models, inputs_of, client_of, tmp_path, architecture, subset, splits
):
    """Those of the API, of the server, and, of all clips, of the command."""
    data, path = small_models.data_of(architecture), small_models.checkpoint(architecture)
    options = ["--valid-subset", ",".join(splits), "--batch-size", 7, "--modalities", ",".join(subset)]
    validate(data, path, tmp_path, *options)
    rows = [json.loads(line) for file in tmp_path.rglob("predictions.jsonl") for line in file.read_text().splitlines()]
    expected = {(row["id"], row["name"]): row["scores"] for row in rows}
    assert len(expected) == 2 * (UTTERANCES if "train" in splits else UTTERANCES // 2)

    withheld = set(MODALITIES[architecture]) - set(subset)
    answers = batches(
        small_models.model(architecture), [each.without(withheld) for each in inputs_of(architecture, *splits)]
    )
    assert_alike(scores_of(answers), expected)
    for answer in answers:
        assert tuple(answer.modalities) == subset
        assert all(note.code == "no_face" for note in answer.notes)  # of one clip of train, as in the data-bin
    predicted = {(answer.id, target): label for answer in answers for target, label in answer.predictions.items()}
    assert predicted == {(row["id"], row["name"]): row["prediction"] for row in rows}
    clips = small_models.clips(*splits)
    for clip in clips if "train" in splits else clips[::FEW]:
        found = served(client_of(architecture), clip, withheld)
        assert_alike(
            {(clip.id, name): scores for name, scores in found.items()},
            {k: v for k, v in expected.items() if k[0] == clip.id},
        )
    if "train" in splits:
        assert_alike(commanded(path, small_models.prepared, withheld, tmp_path / "answers.jsonl"), expected)
    # The model tells clips apart, or all this would say nothing.
    spread = np.ptp([list(expected[key].values()) for key in sorted(expected) if key[1] == "emotion"], axis=0).max()
    assert spread > 10 * ALIKE


@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize("architecture", MODALITIES)
def test_one_by_one_and_many_at_once(small_models, inputs_of, architecture, splits):
    model, inputs = small_models.model(architecture), inputs_of(architecture, *splits)
    count = len(inputs) if "train" in splits else FEW
    inputs, clips = inputs[:count], small_models.clips(*splits)[:count]
    alone = [model.predict(clip.video, text=clip.text) for clip in clips]
    for clip, answer in zip(clips, alone, strict=True):
        answer.id = clip.id
    assert_alike(scores_of(alone), scores_of(batches(model, inputs)))
    assert alone[0] == alone[0].targets["emotion"]
    withheld = MODALITIES[architecture][:1]
    expected = scores_of(batches(model, [each.without(withheld) for each in inputs]))
    assert_alike(scores_of(model.answers(clips, batch_size=4, without=withheld)), expected)


@pytest.mark.parametrize("architecture", MODALITIES)
def test_a_saved_folder_answers_without_the_checkpoint_code(
    small_models, inputs_of, tmp_path, monkeypatch, architecture
):
    model = small_models.model(architecture)
    model.save_pretrained(tmp_path / "saved")

    def unusable(*_, **__):
        raise AssertionError("fairseq.checkpoint_utils was called")

    for name, value in vars(checkpoint_utils).items():
        if callable(value) and getattr(value, "__module__", "") == checkpoint_utils.__name__:
            monkeypatch.setattr(checkpoint_utils, name, unusable)
    monkeypatch.setattr("torch.load", unusable)
    inputs = inputs_of(architecture, "valid", "test")
    expected = batches(model, inputs)
    with EmotionModel.from_pretrained(tmp_path / "saved") as loaded:
        assert scores_of(batches(loaded, inputs)) == scores_of(expected)
        clip = small_models.clips()[0]
        assert loaded.answer([loaded.read(clip)])[0].to_json() == model.answer([model.read(clip)])[0].to_json()


def pictures(path):
    """All frames of a file, (T, H, W, 3)."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def given(clip, how):
    """The same clip as bytes or as arrays."""
    if how == "bytes":
        return dataclasses.replace(clip, video=Path(clip.video).read_bytes())
    if how == "two files":
        return dataclasses.replace(clip, audio=str(clip.video))
    sound = read_audio(str(clip.video), None, None, 16000, 60)
    if how == "floats":
        sound = sound.astype(np.float64) / 32768
    return dataclasses.replace(clip, video=pictures(clip.video), fps=FPS, audio=sound, sampling_rate=16000)


@pytest.mark.parametrize("how", ["bytes", "two files", "arrays", "floats"])
@pytest.mark.parametrize("architecture", ["ssl_fusion", "perceiver_emo"])
def test_a_clip_in_any_form(small_models, inputs_of, architecture, how):
    model, expected = small_models.model(architecture), inputs_of(architecture, "valid", "test")
    found = list(model.reader.read_all(given(clip, how) for clip in small_models.clips("valid", "test")[::2]))
    for one, other in zip(found, expected[::2], strict=True):
        assert one.items.keys() == other.items.keys()
        for name in one.items:
            assert np.array_equal(one.items[name], other.items[name]), (one.id, name)
        assert (one.id, one.notes, one.seconds, one.text) == (other.id, other.notes, other.seconds, other.text)
    assert scores_of(batches(model, found[:FEW])) == scores_of(batches(model, expected[::2][:FEW]))
