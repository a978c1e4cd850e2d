import shlex
from importlib import import_module

import pytest

from mm_fairseq.cli import main, toy


@pytest.mark.parametrize("corpus", toy.CORPORA)
def test_the_least_number_is_told_by_help(corpus, capsys):
    with pytest.raises(SystemExit):
        main(["toy", corpus, "--help"])
    least = import_module(f"mm_fairseq.toy.{corpus}").MINIMUM
    assert f"how many, {least} or more (default" in " ".join(capsys.readouterr().out.split())


def test_iemocap_takes_utterances_and_seed(tmp_path):
    assert main(["toy", "iemocap", str(tmp_path / "a"), "--utterances", "21", "--seed", "4"]) == 0
    assert len(list(tmp_path.glob("a/Session?/sentences/wav/*/*.wav"))) == 21


def test_fluent_speech_commands_takes_utterances_and_seed(tmp_path):
    assert main(["toy", "fluent_speech_commands", str(tmp_path / "a"), "--utterances", "124", "--seed", "4"]) == 0
    assert len(list(tmp_path.glob("a/wavs/speakers/*/*.wav"))) == 124


def test_korean_vat_as_frames_or_as_recordings(tmp_path):
    assert main(["toy", "korean_vat", str(tmp_path / "a"), "--utterances", "28"]) == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        *("dev.pkl", "test.pkl", "test_stt.pkl", "train.pkl")
    ]
    assert main(["toy", "korean_vat", str(tmp_path / "b"), "--utterances", "28", "--recordings"]) == 0
    assert len(list(tmp_path.glob("b/*/*.m2ts"))) == 28


def test_features_take_utterances_and_seed(tmp_path):
    assert main(["toy", "features", str(tmp_path / "a"), "--utterances", "30", "--seed", "4"]) == 0
    assert len(list(tmp_path.glob("a/*.pkl"))) == 5


@pytest.mark.parametrize("corpus", ["audioset", "crema_d", "ravdess"])
def test_corpora_with_pictures_take_utterances_and_seed(tmp_path, monkeypatch, corpus):
    asked = []
    monkeypatch.setattr(f"mm_fairseq.toy.{corpus}.write", lambda *given: asked.append(given))
    assert main(["toy", corpus, str(tmp_path / "a"), "--utterances", "70", "--seed", "4"]) == 0
    assert asked == [(tmp_path / "a", 70, 4)]


LONG = "ravdess", "crema_d"  # to write
PLAIN = [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in toy.CORPORA]


@pytest.mark.parametrize("corpus", [*PLAIN, "cmu_mosi --form mmsa", "cmu_mosei --form features"])
def test_the_command_that_is_told_goes_on_with_it(tmp_path, capsys, corpus):
    corpus, *form = corpus.split()
    least = toy.CORPORA[corpus][1] if form[1:] != ["features"] else toy.CORPORA["features"][1]
    raw = tmp_path / "in a folder"
    assert main(["toy", corpus, str(raw), "--utterances", str(least), *form]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{raw}: {least} utterances as ")
    command = shlex.split(line.rpartition("; next: ")[2])
    assert command[:3] == ["mm-fairseq", "prepare", corpus]
    assert main(command[1:]) == 0
    assert (tmp_path / "in a folder-prepared" / "manifest.tsv").is_file()


def test_a_bad_number_is_one_line_on_stderr(tmp_path, capsys):
    assert main(["toy", "iemocap", str(tmp_path / "a"), "--utterances", "3"]) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        "mm-fairseq toy: error: --utterances 3: five sessions of four classes need at least 20"
    ]
    assert not (tmp_path / "a").exists()


def test_checkpoints_takes_a_folder_and_a_seed(tmp_path, capsys):
    assert main(["toy", "checkpoints", str(tmp_path), "--seed", "2"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (tmp_path / "wav2vec" / "wav2vec.pt").is_file()
    assert line.endswith(f" --audio-backbone wav2vec:{tmp_path}/wav2vec/wav2vec.pt")
    names = ["bert_kmeans", "fabnet", "r3d_18", "roberta", "roberta_args", "vq_wav2vec", "wav2vec", "wav2vec2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_kind_is_needed():
    with pytest.raises(SystemExit) as stopped:
        main(["toy"])
    assert stopped.value.code == 2
