"""A file that is named for one clip must be of use, also where the answer could come from the others."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import Clip, NoModalityError
from mm_fairseq.toy.clips import write_clip

RATE = 16000
NOISE = np.random.default_rng(5).integers(-3000, 3000, 3 * RATE).astype(np.int16)
PICTURES = np.random.default_rng(6).integers(0, 255, (12, 48, 64, 3), np.uint8)
LEFT = r"leave \S+ out to be answered from"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "notes.txt").write_text("Dear diary\n" * 90)
    soundfile.write(tmp_path / "a.wav", NOISE, RATE)
    write_clip(tmp_path / "mute.mp4", list(PICTURES), None, 12, RATE)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "told", "codes"),
    [
        ({"video": "notes.txt"}, "audio: .*notes.txt: ", {"audio": "unreadable"}),
        ({"audio": "notes.txt"}, "audio: .*notes.txt: ", {"audio": "unreadable"}),
        ({"audio": b"RIFF"}, "audio: audio: ", {"audio": "unreadable"}),
        ({"audio": "a.wav", "start": 100.0}, "asked for, the file ends at 3.000 s", {"audio": "span_outside"}),
        ({"audio": NOISE[:9], "sampling_rate": RATE}, "audio: 9 samples at", {"audio": "too_short"}),
        ({"video": "mute.mp4"}, "audio: .*mute.mp4: ", {"audio": "no_audio_track"}),
        (
            {"video": "mute.mp4", "audio": "a.wav"},
            "mute.mp4: its sound is replaced, and nothing in it is of use",
            {"video": "not_read"},
        ),
        (
            {"video": PICTURES, "fps": 12, "audio": "a.wav"},
            "video: its sound is replaced, and nothing in it is of use",
            {"video": "not_read"},
        ),
        ({"features": {"audio": np.zeros((3, 4))}}, "features: nothing in it is of use", {"features": "not_read"}),
    ],
)
def test_a_file_of_no_use_is_an_error_beside_words(heard, files, monkeypatch, given, told, codes):
    monkeypatch.chdir(files)
    left = "audio, text" if "audio" in given and "not_read" in codes.values() else "text"
    with pytest.raises(NoModalityError, match=f"{told}.*; {LEFT} {left}$") as error:
        heard.predict(text="how nice", **given)
    assert error.value.codes == codes
    found = heard.answer([heard.read(Clip(text="how nice", **given))])[0]
    assert found.modalities == left.split(", ")


def test_one_that_is_too_long(small_models, files):
    from mm_fairseq.inference import EmotionModel

    with EmotionModel.from_pretrained(small_models.checkpoint("wave_text"), max_seconds=2) as model:
        for given in ({"audio": files / "a.wav"}, {"audio": NOISE, "sampling_rate": RATE}):
            with pytest.raises(NoModalityError, match=f"than 2 s; .*--window 5 --hop 1 --out DIR.*; {LEFT}") as error:
                model.predict(text="how nice", **given)
            assert error.value.codes == {"audio": "too_long"}
            assert "--max-seconds" not in str(error.value)


def test_one_of_two_files(seen, files):
    with pytest.raises(NoModalityError, match=f"^audio: .*notes.txt: .*; {LEFT} video$"):
        seen.predict(files / "mute.mp4", files / "notes.txt")
    with pytest.raises(NoModalityError, match=f"^video: .*notes.txt: .*; {LEFT} audio$"):
        seen.predict(files / "notes.txt", files / "a.wav")
    with pytest.raises(NoModalityError, match=r"no modality is left: audio: .*; video: ") as error:
        seen.predict(files / "notes.txt")
    assert "to be answered from" not in str(error.value)


def test_of_what_is_of_use_in_part_the_rest_is_noted(seen, files):
    answer = seen.predict(files / "mute.mp4")
    assert (answer.modalities, [note[:2] for note in answer.notes][:1]) == (["video"], [("audio", "no_audio_track")])
    answer = seen.predict(files / "a.wav")
    assert (answer.modalities, [note[:2] for note in answer.notes]) == (["audio"], [("video", "no_video_track")])


def test_words_that_the_model_does_not_read_are_told_of(seen, heard, files):
    answer = seen.predict(files / "a.wav", text="how nice")
    assert answer.notes[-1] == (
        "text",
        "not_read",
        "words are not read by a model of audio, video; answered without them",
    )
    for notes in (
        seen.read(Clip("row", files / "a.wav", text="how nice")).notes,
        seen.predict(files / "a.wav", text="  ").notes,
        heard.predict(files / "a.wav", text="how nice").notes,
        heard.predict(files / "a.wav", text="how nice", without=["text"]).notes,
    ):
        assert "not_read" not in [note.code for note in notes]


def test_what_is_withheld_need_not_be_of_use(heard, files):
    answer = heard.predict(files / "notes.txt", text="how nice", without=["audio"])
    assert (answer.modalities, answer.notes) == (["text"], ())
    with pytest.raises(MMFairseqError, match="no such file"):
        heard.predict(files / "none.wav", text="how nice")


def test_rows_of_many_stay_lenient(heard, files):
    row = Clip("c1", audio=files / "notes.txt", text="how nice")
    (answer,) = heard.answers([row])
    assert (answer.modalities, [note.code for note in answer.notes]) == (["text"], ["unreadable"])
    failed = {}
    rows = [row, replace(row, id="c2", audio=files / "a.wav")]
    found = heard.reader.read_all(rows, failed=lambda clip, error: failed.update({clip.id: error}), strict=True)
    assert [each.id for each in found] == ["c2"]
    assert failed["c1"].codes == {"audio": "unreadable"}


def test_files_are_called_as_they_were_named(heard, files, monkeypatch):
    monkeypatch.chdir(files)
    for clip, told in (
        (Clip("notes.txt", audio="notes.txt"), "notes.txt: no modality is left: audio: "),
        (Clip("c1", audio="./notes.txt"), "c1: no modality is left: audio: ./notes.txt: "),
        (Clip("none.wav", audio="none.wav"), "none.wav: no such file"),
        (Clip("a.wav#t=7,8", audio="a.wav#t=7,8"), "a.wav#t=7,8: no modality is left: audio: 7.000 s to 8.000 s was"),
    ):
        with pytest.raises(MMFairseqError) as error:
            heard.read(clip)
        assert str(error.value).startswith(told)
        assert str(files) not in str(error.value)
