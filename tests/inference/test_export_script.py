"""examples/export/run_onnx.py: from words to numbers, what is cut or left out, and what it says of bad input."""

import importlib.util
import json
import shutil
import wave

import numpy as np
import pytest
import sentencepiece
from exporting import SCRIPT, run_alone, script
from trainings import train

from mm_fairseq.cli import main
from mm_fairseq.inference import Clip, EmotionModel
from mm_fairseq.media.dictionary import TokenIds

TEXTS = ("well , i am so happy", "  Two  spaces\tand CAPITALS ", "안녕하세요 여러분 ½ ﬁ", "<s> </s> <unk> ▁ a\nb", "!")
AUDIO = {"sample_rate": 16000, "channels": 1}
VIDEO = {"fps": 5, "frame_size": 4, "faces": "none"}
PORTS = [
    {"name": "audio", "dtype": "float32", "shape": ["batch", "audio_length"], "unit": "samples"},
    {"name": "video", "dtype": "uint8", "shape": ["batch", "video_length", 3, 4, 4], "unit": "frames"},
]


@pytest.fixture(scope="module")
def exported(small_models, tmp_path_factory):
    """An export of a model of nothing but text, in pieces of sentencepiece: the folder, with a space, and the model."""
    folder = tmp_path_factory.mktemp("of pieces")
    words = [small_models.prepared, folder / "data bin", "--workers", 1, "--modalities", "text"]
    assert main(["binarize", *map(str, words), "--tokenizer", "sentencepiece", "--vocab-size", "60"]) == 0
    train(folder / "data bin", folder / "run", "--batch-size", 8, "--max-update", 2)
    words = ["--checkpoint", folder / "run", "--out", folder / "of text", "--data", folder / "data bin"]
    assert main(["export", *map(str, words), "--samples", "2"]) == 0
    with EmotionModel.from_pretrained(folder / "run") as model:
        yield folder / "of text", model


@pytest.fixture(scope="module")
def told(exported, tmp_path_factory):
    """A folder whose config.json tells of sound and pictures, too: enough for all that comes before the model."""
    folder = tmp_path_factory.mktemp("told")
    shutil.copytree(exported[0], folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_bytes())
    config["modalities"] += ["audio", "video"]
    config["preprocessing"] |= {"audio": AUDIO, "video": VIDEO}
    config["files"]["model.onnx"]["inputs"] += [each | {"pad": 0, "shortest": 2, "longest": 9} for each in PORTS]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("run_onnx", SCRIPT)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def refused(module, monkeypatch, capsys):
    """What the script says where it ends with status 2: one line."""

    def call(*args):
        monkeypatch.setattr("sys.argv", [str(SCRIPT), *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == 2
        told = capsys.readouterr()
        assert not told.out
        start, _, message = told.err.splitlines()[-1].partition("run_onnx.py: error: ")
        assert not start, told.err
        return message

    return call


def write_wav(path, count, rate=16000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * count))
    return path


def test_words_become_the_numbers_of_the_package(exported, module):
    folder, model = exported
    about = json.loads((folder / "config.json").read_bytes())["preprocessing"]["text"]
    state = model.state
    wanted = TokenIds.from_contents(state["meta"]["tokenizer"], state["tokenizer"], state["dictionary"])
    assert about["symbols"] == len(state["dictionary"])
    for text in TEXTS:
        found = module.read_text(text, about, folder)
        assert found.tolist() == [about["begin"], *wanted(text).tolist(), about["end"]]
        assert found.tolist() == model.read(Clip("", text=text)).items["text"].tolist()


def test_words_are_answered_without_the_package(exported):
    folder, model = exported
    found = run_alone(folder, "--text", TEXTS[0])
    for name, ranked in model.predict(text=TEXTS[0]).targets.items():
        assert [each["label"] for each in found[name]] == [each["label"] for each in ranked]
        assert [each["score"] for each in found[name]] == pytest.approx([each["score"] for each in ranked], abs=1e-5)


def test_words_that_cannot_be_read_say_what_to_do(exported, module, refused, tmp_path):
    folder, _ = exported
    about = json.loads((folder / "config.json").read_bytes())["preprocessing"]["text"]
    for wrong in ({"tokenizer": "gpt2"}, {"tokenizer_files": []}):
        with pytest.raises(module.InputError, match=r"--text: .* give --tokens"):
            module.read_text("a", about | wrong, folder)
    shutil.copy(folder / "dictionary.txt", tmp_path)
    with pytest.raises(module.InputError, match=r"text\.model: no such file"):
        module.read_text("a", about, tmp_path)
    (tmp_path / "text.model").write_text("no model")
    with pytest.raises(module.InputError, match=r"text\.model: cannot be read as a sentencepiece model"):
        module.read_text("a", about, tmp_path)
    assert refused(folder, "--text", " ") == "--text: no words in ' '"
    assert sentencepiece.__name__ not in vars(module)  # it is imported where words are given


@pytest.mark.parametrize("unit", ["samples", "tokens"])
def test_what_is_too_long_is_cut_and_told(module, capsys, unit):
    port = {"name": "x", "unit": unit, "shortest": 2, "longest": 4}
    assert module.fitted(port, np.arange(6)).tolist() == [0, 1, 2, 5 if unit == "tokens" else 3]
    assert capsys.readouterr().err == f"x: 6 {unit}; the model takes 4: the end is cut off\n"
    assert module.fitted(port, np.arange(4)).tolist() == [0, 1, 2, 3]
    assert capsys.readouterr().err == ""


def test_what_is_too_short_is_left_out_and_told(module, told, refused, tmp_path, capsys):
    export = module.Export(told)
    found = export.usable({"audio": np.zeros(1, np.float32), "text": np.array([0, 2])})
    assert list(found) == ["text"]
    assert capsys.readouterr().err == "audio: 1 samples; the model needs 2; answered without it\n"
    feed = module.batch_of(export.files["model"][1]["inputs"], found)
    assert feed["audio_mask"].tolist() == [[True, True]]
    assert not feed["text_mask"].any()
    assert refused(told, "--audio", write_wav(tmp_path / "short.wav", 1)) == "nothing is left that the model reads"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"audio": np.zeros((5, 2), np.float32)}, r"audio is of shape \(5, 2\); expected \(T\)"),
        ({"audio": np.float32(1)}, r"audio is of shape \(\); expected \(T\)"),
        ({"audio": np.zeros(5, np.int16)}, "audio is of type int16; expected float32"),
        ({"audio": np.array([0, np.nan, 0])}, "audio: not all of it are finite numbers"),
        ({"video": np.zeros((5, 4, 4, 3), np.uint8)}, r"video is of shape \(5, 4, 4, 3\); expected \(T, 3, 4, 4\)"),
        ({"video": np.zeros((5, 3, 4, 4))}, "video is of type float64; expected uint8"),
        ({"text": np.array([0.0, 2.0])}, "text is of type float64; expected int64"),
        ({"smell": np.zeros(5)}, "smell: the model reads text, audio, video"),
        ({}, "nothing is given"),
    ],
)
def test_arrays_of_another_form_are_refused(module, told, item, message):
    with pytest.raises(module.InputError, match=message):
        module.Export(told).usable({name: np.asarray(each) for name, each in item.items()})


def test_every_fault_is_one_line(exported, told, refused, tmp_path):
    here, (text_only, model) = tmp_path / "here", exported
    here.mkdir()
    assert refused(tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"
    assert refused(here) == f"{here / 'config.json'}: no such file"
    (here / "config.json").write_text("{")
    assert "config.json: cannot be read as JSON: " in refused(here)
    (here / "config.json").write_text('{"model_type": "bert"}')
    assert "config.json: not of an export" in refused(here)
    assert refused(told) == "nothing is given; see --help"
    assert refused(told, "--frames", here / "frames.npy") == f"{here / 'frames.npy'}: no such file"
    assert refused(text_only, "--frames", here / "frames.npy") == "--frames: the model reads text"
    (here / "words.txt").write_text("not sound")
    for option, kind in (("--audio", "sound"), ("--frames", ".npy"), ("--inputs", ".npz")):
        assert refused(told, option, here / "words.txt").startswith(f"{here / 'words.txt'}: cannot be read as {kind}: ")
    np.savez(here / "inputs.npz", text=np.arange(9))
    (here / "half.npz").write_bytes((here / "inputs.npz").read_bytes()[:200])
    assert "half.npz: cannot be read as .npz: " in refused(told, "--inputs", here / "half.npz")
    assert "8000 Hz; the model hears 16000 Hz" in refused(told, "--audio", write_wav(here / "8k.wav", 9, 8000))
    symbols = len(model.state["dictionary"])
    for number in (symbols, -1):
        wanted = f"text: token {number}; the dictionary has the numbers 0 to {symbols - 1}"
        assert refused(told, "--tokens", 0, number, 2) == wanted
    shutil.copy(text_only / "config.json", here)
    (here / "model.onnx").write_bytes(b"no graph")
    assert "model.onnx: cannot be read as ONNX: " in refused(here, "--tokens", 0, 5, 2)
    done = script(told, "--audio", here / "words.txt")  # without soundfile
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"run_onnx.py: error: {here / 'words.txt'}: cannot be read as sound: ")
    assert len(done.stderr.splitlines()) == 1
