"""`mm-fairseq predict`: clips, manifests and long recordings, good ones and bad ones, as a person would ask."""

import json
import os
import shutil

import pytest

from mm_fairseq.cli import main
from mm_fairseq.cli.predict import _Explained
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import EmotionModel, explain, sources
from mm_fairseq.manifest import Manifest


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_one_clip_as_a_table(ask):
    status, out, err = ask("a.wav", "--text", "how nice")
    assert (status, err) == (0, "")
    assert "a.wav (audio, text; 2.00 s)" in out
    assert out.count("0.") >= 3
    assert "note" not in out


def test_json_is_what_the_model_says(ask, small_models):
    status, out, err = ask("a.wav", "--text", "how nice", "--json")
    expected = small_models.model("wave_text").predict(audio="a.wav", text="how nice")
    assert (status, err) == (0, "")
    assert lines(out) == [expected.to_json() | {"id": "a.wav"}]
    _, out, _ = ask("a.wav", "--json", "--top-k", 2, "--start", 0.5, "--end", 1.5)
    expected = small_models.model("wave_text").predict(audio="a.wav", start=0.5, end=1.5, top_k=2)
    assert lines(out) == [expected.to_json() | {"id": "a.wav"}]


def test_a_training_and_a_saved_folder(ask, checkpoint, small_models, tmp_path):
    small_models.model("wave_text").save_pretrained(tmp_path / "saved")
    answers = [ask("a.wav", "--json", of=of)[1] for of in (checkpoint, checkpoint.parent, tmp_path / "saved")]
    assert answers[0] == answers[1] == answers[2]


def test_sound_alone_is_no_video_that_lacks_pictures(ask, small_models):
    _, out, _ = ask("a.wav", "b.mp3", "c.mov", "--json", of=small_models.checkpoint("perceiver_emo"))
    found = lines(out)
    assert [each["modalities"] for each in found] == [["audio"], ["audio"], ["audio", "video"]]
    assert [note["code"] for each in found for note in each["notes"]] == ["no_face"]


def test_sound_from_elsewhere(ask, small_models):
    _, out, _ = ask("c.mov", "--audio", "b.mp3", "--json", of=small_models.checkpoint("perceiver_emo"))
    assert lines(out)[0]["modalities"] == ["audio", "video"]
    assert lines(out)[0]["seconds"] == pytest.approx(3, abs=0.1)
    _, out, _ = ask("--audio", "b.mp3", "--json")
    assert lines(out)[0]["id"] == "b.mp3"


def test_modalities_withheld(ask):
    _, out, _ = ask("a.wav", "--text", "how nice", "--no-audio", "--json")
    assert lines(out)[0]["modalities"] == ["text"]
    status, _, err = ask("a.wav", "--no-audio", "--no-text")
    assert (status, err.count("\n")) == (2, 1)
    assert "the model reads audio, text" in err


def test_bad_ones_among_several(ask):
    status, out, err = ask("a.wav", "bad.mp4", "none.wav", "b.mp3", "--json")
    assert status == 1
    assert [each["id"] for each in lines(out)] == ["a.wav", "b.mp3"]
    assert "error: bad.mp4: no modality is left: audio: " in err
    assert "none.wav: no such file" in err
    assert "2 of 4 clips could not be answered" in err
    status, out, err = ask("a.wav", "bad.mp4")
    assert status == 1
    assert "a.wav" in out
    status, out, err = ask("bad.mp4")
    assert (status, out) == (2, "")


def test_a_file_of_no_use_among_several_and_in_a_manifest(ask, files, tmp_path):
    """Of those that are named each must be of use; a manifest is answered as training reads it."""
    status, out, err = ask("a.wav", "bad.mp4", "--json")
    assert (status, [each["id"] for each in lines(out)]) == (1, ["a.wav"])
    head = "id split speaker session dialogue turn start end audio video text".replace(" ", "\t")
    row = "x\t\t\t\t\t\t\t\tbad.mp4\t\thow nice"
    (tmp_path / "manifest.tsv").write_text(f"# root={files}\n{head}\n{row}\n")
    status, out, err = ask("--manifest", tmp_path, "--json")
    assert (status, err) == (0, "")
    assert [(each["modalities"], each["notes"][0]["code"]) for each in lines(out)] == [(["text"], "unreadable")]


def test_one_that_has_no_answer_or_explanation_ends_no_run(ask, tmp_path, monkeypatch):
    scores, real = EmotionModel.scores, explain.explain

    def no_number(self, inputs):
        if any(each.id == "b.mp3" for each in inputs):
            raise MMFairseqError("b.mp3: not a finite number")
        return scores(self, inputs)

    def no_reason(model, inputs):
        if inputs.id == "c.mov":
            raise MMFairseqError("no reason")
        return real(model, inputs)

    monkeypatch.setattr(EmotionModel, "scores", no_number)
    monkeypatch.setattr(explain, "explain", no_reason)
    words = ["b.mp3", "c.mov", "a.wav", "--output", tmp_path / "o.jsonl", "--explain", tmp_path / "why"]
    status, _, err = ask(*words)
    assert status == 1
    assert [each["id"] for each in lines((tmp_path / "o.jsonl").read_text())] == ["c.mov", "a.wav"]
    assert "error: b.mp3: not a finite number\n" in err
    assert "error: c.mov: not explained: no reason\n" in err
    assert "1 of 3 clips could not be answered\n" in err
    assert "1 of 3 clips could not be explained\n" in err
    assert {path.name for path in (tmp_path / "why").iterdir()} == {"a.wav.json", "a.wav.png"}
    for each in ("b.mp3", "c.mov"):
        assert ask(each, "--explain", tmp_path / "why")[0] == 2


def test_one_that_cannot_even_be_looked_at_ends_no_run(ask, monkeypatch):
    def crash(path):
        if "b.mp3" in path:
            os.abort()
        return False

    monkeypatch.setattr(sources, "has_pictures", crash)
    status, out, _ = ask("a.wav", "b.mp3", "a.wav", "x" * 100_000, "--json")
    assert status == 1
    assert [each["id"] for each in lines(out)] == ["a.wav", "b.mp3", "a.wav"]


def test_a_part_of_a_file(ask, small_models, files):
    of = small_models.checkpoint("perceiver_emo")
    (found,) = lines(ask("c.mov#t=0.5,1.5", "--json", of=of)[1])
    assert found["modalities"] == ["audio", "video"]
    assert found["seconds"] == pytest.approx(1, abs=0.01)


def test_a_name_that_is_no_utf_8(ask, files, tmp_path):
    odd = os.fsdecode(b"caf\xe9.wav")
    shutil.copy(files / "a.wav", files / odd)
    _, out, _ = ask("a.wav", "--json")
    expected = lines(out)[0]
    assert expected["modalities"] == ["audio"]
    status, out, _ = ask(odd, "--json", "--explain", tmp_path / "why")
    assert (status, lines(out)) == (0, [expected | {"id": odd}])
    out.encode()
    assert json.loads(next((tmp_path / "why").glob("*.json")).read_text())["answer"] == expected | {"id": odd}
    assert ask(odd, "--output", tmp_path / "o.jsonl")[0] == 0
    assert lines((tmp_path / "o.jsonl").read_text()) == [expected | {"id": odd}]
    assert ask(odd, "--window", 1, "--out", tmp_path / odd)[0] == 0
    assert json.loads((tmp_path / odd / "segments.json").read_text())[0]["modalities"] == ["audio"]


def test_names_of_explanations(tmp_path):
    explained = _Explained(tmp_path)
    assert [explained._named(each) for each in ("a-2", "a", "./a", "A", "", "//", "\uac00" * 80)] == [
        *("a-2", "a", "a-3", "A-4", "clip", "clip-2", "\uac00" * 66)
    ]


def test_a_manifest_keeps_ids_and_order(ask, small_models, tmp_path):
    rows = Manifest.read(small_models.prepared / "manifest.tsv").utterances
    out = tmp_path / "answers.jsonl"
    status, told, _ = ask("--manifest", small_models.prepared, "--batch-size", 3, "--output", out)
    assert (status, told) == (0, "")
    found = lines(out.read_text())
    assert [each["id"] for each in found] == [row.id for row in rows]
    clip = {each.id: each for each in small_models.clips()}[rows[7].id]
    alone = small_models.model("wave_text").predict(video=clip.video, text=clip.text)
    assert [each["label"] for each in found[7]["targets"]["emotion"]] == [each["label"] for each in alone]
    assert found[7]["targets"]["emotion"][0]["score"] == pytest.approx(alone[0]["score"], abs=1e-5)
    _, told, _ = ask("--manifest", small_models.prepared / "manifest.tsv", "--split", "test", "--json")
    assert [each["id"] for each in lines(told)] == [row.id for row in rows if row.split == "test"]


def test_lists_of_a_protocol(ask, tmp_path):
    head = "id split speaker session dialogue turn start end audio video text"
    rows = [f"{name}\t\t\t\t\t\t\t\ta.wav\t\thello" for name in "xyz"]
    folder = tmp_path / "prepared"
    (folder / "splits" / "by_actor" / "2").mkdir(parents=True)
    (folder / "splits" / "by_actor" / "2" / "test").write_text("z\nx\n")
    text = "\n".join([f"# root={os.getcwd()}", head.replace(" ", "\t"), *rows]) + "\n"
    (folder / "manifest.tsv").write_text(text)
    _, out, _ = ask("--manifest", folder, "--split", "by_actor/2/test", "--json")
    assert [each["id"] for each in lines(out)] == ["x", "z"]
    status, _, err = ask("--manifest", folder, "--split", "dev")
    assert status == 2
    assert "no utterances of the split 'dev'; there are by_actor/2/test" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to answer for: give a CLIP, --audio, --text or --manifest; this model reads audio, text"),
        (["--text", "  "], "nothing to answer for"),
        (["a.wav", "b.mp3", "--text", "x"], "--text is of one clip"),
        (["a.wav", "b.mp3", "--audio", "x"], "--audio is of one clip"),
        (["a.wav", "--manifest", "m.tsv"], "--manifest says itself"),
        (["--manifest", "m.tsv"], "no such manifest"),
        (["a.wav", "--split", "test"], "--split is of --manifest"),
        (["a.wav", "--hop", 1], "--hop is of --window"),
        (["a.wav", "--out", "x"], "--out is of --window"),
        (["a.wav", "--overwrite"], "--overwrite is of --window"),
        (["a.wav", "--window", 5], "--window needs --out"),
        (["a.wav", "--window", -5, "--out", "o"], "--window -5.0: a number above 0 is needed"),
        (["a.wav", "--window", 5, "--hop", 0, "--out", "o"], "--hop 0.0: a number above 0 is needed"),
        (
            ["a.wav", "--window", 0.01, "--hop", 0.01, "--out", "o"],
            "a window of 0.01 s: the model needs at least 0.025 s",
        ),
        (["a.wav", "--window", 0.5, "--out", "o"], "--window 0.5: the hop is 1 s, which is more; give --hop, too"),
        (["a.wav", "--output", "x/y/z.jsonl"], "--output x/y/z.jsonl: there is no folder x/y"),
        (["a.wav", "--window", 5, "--out", "o", "--text", "x"], "words have no times: give them as --subtitles FILE"),
        (["a.wav", "--window", 5, "--out", "o", "--json"], "--json does not go with --window"),
        (["a.wav", "--window", 5, "--out", "o", "--top-k", 2], "--top-k does not go with --window"),
        (["a.wav", "b.mp3", "--window", 5, "--out", "o"], "--window is for one recording, not 2"),
        (["a.wav", "--window", 5, "--hop", 6, "--out", "o"], "the hop must be above 0 and not above the window"),
        (["bad.mp4", "--window", 5, "--out", "o"], "not an audio or video file"),
        (["none.mp4", "--window", 5, "--out", "o"], "no such file"),
        (["a.wav", "--window", 5, "--out", "o", "--no-audio"], "neither sound nor pictures"),
        (["a.wav", "--window", 5, "--out", "o", "--subtitles", "bad.mp4"], "no subtitles"),
        (
            ["a.wav", "--window", 5, "--out", "o", "--subtitles", "late.vtt"],
            "of 1 subtitles none lies between 0 s and 2 s",
        ),
        (["a.wav", "--top-k", 0], "--top-k 0: at least 1"),
        (["a.wav", "--batch-size", 0], "--batch-size 0: at least 1"),
        (["a.wav", "--start", 3, "--end", 2], "from 3 s to 2 s: no span of a clip"),
        (["--text", "x", "--start", 1], "--start and --end are of a recording"),
        (["x.npz", "--end", 1], "--start and --end are of a recording"),
        (["a.wav#t=0,1", "--end", 1], "a.wav#t=0,1: a span behind its name, and --start or --end"),
        (["--text", "caf\udce9"], "text: '\\udce9' at place 3 is no character"),
        (["bad.mp4", "--no-audio"], "nothing is given of text, which the model reads; what is given is taken as sound"),
        (["a.wav", "--start", "inf"], "from inf s to the end: no span"),
        (["a.wav", "--window", 5, "--out", "o", "--end", "inf"], "from 0 s to inf s: no span"),
        (["a.wav", "--max-seconds", 0], "--max-seconds 0.0: a number above 0, at most 1,000,000"),
        (["a.wav", "--max-seconds", "inf"], "--max-seconds inf"),
        (["a.wav", "--max-seconds", "nan"], "--max-seconds nan"),
        (
            ["a.wav", "--max-seconds", 1],
            "longer than 1 s; cut it, or answer along it with --window 5 --hop 1 --out DIR",
        ),
        (["bad.mp4", "--text", "x"], "leave it out to be answered from text"),
        (
            ["a.wav", "--audio", "b.mp3"],
            "error: a.wav: its sound is replaced, and nothing in it is of use to a model of audio, text; leave it out",
        ),
        (["a.wav", "--start", 100, "--text", "x"], "predict: error: a.wav: audio: 100.000 s to the end was asked for"),
        (["none.wav", "--text", "x"], "predict: error: none.wav: no such file"),
        (["a.wav", "--device", "mps"], "device 'mps': expected cpu"),
        (["a.wav", "--device", "meta"], "device 'meta': expected cpu"),
    ],
)
def test_what_cannot_be_asked(ask, files, words, told):
    status, out, err = ask(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert not (files / "o" / "segments.json").exists()


def test_an_interrupted_run_leaves_its_file_and_says_so(ask, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mm_fairseq.inference.EmotionModel.answer", interrupted)
    output = tmp_path / "a.jsonl"
    status, _, err = ask("a.wav", "b.mp3", "--output", output)
    assert (status, err) == (130, f"mm-fairseq predict: interrupted; {output} is as it was\n")
    assert not list(tmp_path.iterdir())


def test_no_checkpoint(ask, tmp_path):
    status, _, err = ask("a.wav", of=tmp_path)
    assert status == 2
    assert "checkpoint_best.pt" in err


def test_clips_on_both_sides_of_options(checkpoint, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    shutil.copyfile("a.wav", "-a.wav")
    for words in (
        ["a.wav", "--checkpoint", checkpoint, "--json", "b.mp3"],
        ["--json", "a.wav", "--checkpoint", checkpoint, "b.mp3"],
    ):
        assert main(["predict", *map(str, words)]) == 0
        assert [each["id"] for each in lines(capsys.readouterr().out)] == ["a.wav", "b.mp3"]
    assert main(["predict", "--checkpoint", str(checkpoint), "--json", "--", "-a.wav"]) == 0
    assert [each["id"] for each in lines(capsys.readouterr().out)] == ["-a.wav"]


def test_a_table_that_is_no_manifest(ask, tmp_path):
    (tmp_path / "t.csv").write_text("path,label\na.wav,happy\n")
    status, _, err = ask("--manifest", tmp_path / "t.csv")
    assert (status, err.count("\n")) == (2, 1)
    assert "t.csv:1: expected '# root=DIR', found 'path,label'; `mm-fairseq prepare table` makes a manifest" in err
    (tmp_path / "m.tsv").write_text("# root=.\nid\tsplit\n")
    _, _, err = ask("--manifest", tmp_path / "m.tsv")
    assert "m.tsv:2: the columns must begin" in err
    assert "prepare table" not in err


def test_explanations(ask, tmp_path):
    status, out, err = ask("a.wav", "c.mov", "--explain", tmp_path / "why", "--json")
    assert status == 0
    assert len(lines(out)) == 2
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == [
        "a.wav.json",
        "a.wav.png",
        "c.mov.json",
        "c.mov.png",
    ]
    assert json.loads((tmp_path / "why" / "a.wav.json").read_text())["target"] == "emotion"
    assert err.endswith(f"written: {tmp_path / 'why'}\n")
