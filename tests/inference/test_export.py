"""mm-fairseq export: files that answer as the model does, or no files."""

import json
import shutil
import wave

import numpy as np
import onnxruntime
import pytest
import torch
from exporting import ARCHITECTURES, LENGTHS, OUTPUTS, parts_for, run_alone, samples_of, ssl_fusion, tried
from small_backbones import ARGS, entry, modality_of

from mm_fairseq.atomic import HeldError, locked
from mm_fairseq.backbones import BackboneSet
from mm_fairseq.backbones.backbone_set import Omitted
from mm_fairseq.cli import main
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import Clip, EmotionModel
from mm_fairseq.inference import export as exports
from mm_fairseq.inference.export import FORMATS, describe, export
from mm_fairseq.inference.export.capture import capture
from mm_fairseq.inference.export.parity import compare
from mm_fairseq.inference.export.refusals import refusal
from mm_fairseq.kinds import KINDS
from mm_fairseq.models.ssl_fusion import FUSIONS


def scores_of(answer):
    return {each["label"]: each["score"] for each in answer}


@pytest.fixture(scope="module")
def exported(small_models, tmp_path_factory):
    """An ONNX export by the command: the folder and the model."""
    out = tmp_path_factory.mktemp("export")
    words = ["--checkpoint", small_models.checkpoint("wave_text"), "--out", out, "--data", small_models.data_bin]
    assert main(["export", *map(str, words), "--samples", "2"]) == 0
    return out, small_models.model("wave_text")


def test_parity_is_told_beside_the_file(exported):
    out, _ = exported
    told = json.loads((out / "parity.json").read_bytes())["files"]["model.onnx"]
    assert told["passed"]
    assert told["worst"] <= told["tolerance"] == 1e-4
    assert (told["real_samples"], told["made_samples"]) == (2, 4)
    lengths = [tuple(row) for case in told["cases"] for row in case["lengths"]]
    assert {("audio", "text"), ("audio",), ("text",), ()} <= set(lengths)
    assert max(len(case["lengths"]) for case in told["cases"]) == 6
    assert told["worst"] == max(max(case["difference"].values()) for case in told["cases"])
    assert told["versions"]["torch"]


def test_config_tells_a_program_what_it_needs(exported):
    out, model = exported
    config = json.loads((out / "config.json").read_bytes())
    targets = config["targets"]
    assert [(each["name"], tuple(each["classes"])) for each in targets] == [
        (each.name, each.classes) for each in model.targets
    ]
    assert config["preprocessing"]["audio"]["sample_rate"] == 16000
    text = config["preprocessing"]["text"]
    assert (out / text["dictionary"]).read_text("utf-8").splitlines() == model.state["dictionary"]
    assert all((out / name).is_file() for name in text["tokenizer_files"])
    about = config["files"]["model.onnx"]
    assert [each["name"] for each in about["inputs"]] == ["audio", "text", "audio_mask", "text_mask"]
    assert [each["dtype"] for each in about["inputs"]] == ["float32", "int64", "bool", "bool"]
    assert about["outputs"] == [each["output"] for each in targets]
    session = onnxruntime.InferenceSession(out / "model.onnx")
    assert {each.name: each.shape for each in session.get_inputs()} == {
        each["name"]: each["shape"] for each in about["inputs"]
    }
    assert [each.name for each in session.get_outputs()] == about["outputs"]
    assert set(describe.ACTIVATIONS) == set(KINDS.names())


@pytest.mark.parametrize("given", [("audio", "text"), ("audio",), ("text",)], ids="+".join)
def test_onnxruntime_and_numpy_alone_answer_as_the_model(exported, tmp_path, given):
    out, model = exported
    samples = (9000 * np.sin(np.arange(20000) / 9)).astype(np.int16)
    with wave.open(str(tmp_path / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    clip = Clip("", audio=tmp_path / "clip.wav", text="well , i am so happy")
    inputs = model.read(clip, without=[name for name in model.modalities if name not in given])
    words = {"audio": ["--audio", tmp_path / "clip.wav"], "text": ["--tokens", *inputs.items.get("text", ())]}
    found = run_alone(out, *(word for name in given for word in words[name]))
    wanted = model.answer([inputs])[0]
    assert found.keys() == wanted.targets.keys()
    for name, ranked in found.items():
        assert [each["label"] for each in ranked] == [each["label"] for each in wanted.targets[name]]
        assert scores_of(ranked) == pytest.approx(scores_of(wanted.targets[name]), abs=1e-5)


def test_a_file_that_answers_otherwise_is_not_written(exported, small_models, monkeypatch, tmp_path, capsys):
    _, model = exported
    kind = FORMATS["torchscript"]

    def wrong(path, part):
        run = kind.open(path, part)
        return lambda *batch: {name: x + 2e-4 * (len(x) == 1) for name, x in run(*batch).items()}

    assert export(model, tmp_path, "torchscript", "fusion")["fusion.ts"]["passed"]
    (tmp_path / "fusion.ts.data").write_bytes(b"weights of one that was larger")
    monkeypatch.setitem(exports.FORMATS, "torchscript", kind._replace(open=wrong))
    words = ["--checkpoint", small_models.checkpoint("wave_text"), "--out", tmp_path, "--format", "torchscript"]
    assert main(["export", *map(str, words), "--part", "fusion"]) == 1
    assert "not written" in capsys.readouterr().out
    assert not list(tmp_path.glob("fusion.ts*"))
    told = json.loads((tmp_path / "parity.json").read_bytes())["files"]["fusion.ts"]
    assert not told["passed"]
    assert told["worst"] == pytest.approx(2e-4, rel=0.01)
    assert json.loads((tmp_path / "config.json").read_bytes())["files"] == {}
    assert not list(tmp_path.glob(".export-*"))


def test_what_was_tried_on_noise_alone_is_told(exported, small_models, tmp_path, capsys):
    words = ["export", "--checkpoint", small_models.checkpoint("wave_text"), "--out", tmp_path, "--part", "fusion"]
    words += ["--format", "torchscript"]
    assert main(list(map(str, words))) == 0
    assert "fusion.ts: not tried on real samples: none were given (--data" in capsys.readouterr().out
    told = json.loads((tmp_path / "parity.json").read_bytes())["files"]["fusion.ts"]
    assert told["real_samples"] == 0
    assert told["note"].startswith("not tried on real samples")
    assert main([*map(str, words), "--data", str(small_models.data_bin), "--samples", "1"]) == 0
    assert "not tried" not in capsys.readouterr().out
    assert "note" not in json.loads((tmp_path / "parity.json").read_bytes())["files"]["fusion.ts"]
    real = exports.from_data_bin(exported[1], small_models.data_bin, "test", 1)
    with EmotionModel.from_pretrained(small_models.checkpoint("wave_text")) as model:
        model.model.backbones.encoders["text"] = Omitted(entry("embedding", frozen=True))
        [part] = parts_for(model.model, "fusion")
        assert "lacks backbones" in exports._untried(model, part, real)


def test_parts_that_were_made_before_one_failed_are_whole(exported, monkeypatch, tmp_path):
    written = exports.write

    def failing(program, part, *more):
        if part.name == "text":
            raise OSError("no space left")
        written(program, part, *more)

    monkeypatch.setattr(exports, "write", failing)
    with pytest.raises(OSError, match="no space"):
        export(exported[1], tmp_path, "torchscript", "backbones")
    for name in ("config.json", "parity.json"):
        assert list(json.loads((tmp_path / name).read_bytes())["files"]) == ["audio.ts"]
    assert {path.name for path in tmp_path.glob("*.ts")} == {"audio.ts"}


def test_what_a_killed_export_left_goes_with_the_next(exported, tmp_path):
    left = tmp_path / ".export-killed" / "model.ts"
    left.parent.mkdir()
    left.write_bytes(b"half")
    with locked(tmp_path), pytest.raises(HeldError):
        export(exported[1], tmp_path, "torchscript", "fusion")
    assert left.is_file()  # of one that may still be at it
    assert export(exported[1], tmp_path, "torchscript", "fusion")["fusion.ts"]["passed"]
    assert not left.parent.exists()


def test_a_folder_of_checkpoints_stays_as_it_is(exported, small_models):
    folder = small_models.checkpoint("wave_text").parent
    before = sorted(folder.iterdir())
    with pytest.raises(MMFairseqError, match=r"has checkpoints, and config\.json would be read in their place"):
        export(exported[1], folder, "torchscript", "fusion")
    assert sorted(folder.iterdir()) == before


def test_a_data_bin_is_compared_in_what_the_model_reads(exported, small_models, monkeypatch):
    model = exported[1]
    monkeypatch.setitem(model.state["meta"], "fps", 7)
    assert exports.from_data_bin(model, small_models.data_bin, "test", 1)
    monkeypatch.setitem(model.state["meta"], "tokenizer", {"name": "words", "files": []})
    with pytest.raises(MMFairseqError, match=r"tokenizer is .*, in that of the training .*words"):
        exports.from_data_bin(model, small_models.data_bin, "test", 1)


def test_a_number_that_is_none_does_not_pass():
    [part] = parts_for(ssl_fusion({"text": "embedding"}))
    found = compare(
        part,
        lambda *batch: {name: x * np.nan for name, x in part.module(*batch).items()},
        samples_of(part.module.model),
    )
    assert not found["passed"]
    assert found["worst"] is None


def test_another_checkpoint_is_not_put_beside_it(exported, tmp_path):
    out, model = exported
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config | {"checkpoint": "0"}))
    with pytest.raises(MMFairseqError, match="another checkpoint"):
        export(model, tmp_path, "torchscript")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MMFairseqError, match="not of an export"):
        export(model, tmp_path, "torchscript")


def test_what_cannot_be_exported_says_why(exported, tmp_path, capsys):
    _, model = exported
    with pytest.raises(MMFairseqError, match="'tflite'; allowed: torchscript, onnx, torch-export"):
        export(model, tmp_path, "tflite")
    with pytest.raises(MMFairseqError, match="'head'; allowed: model, fusion, backbones"):
        export(model, tmp_path, "onnx", "head")
    with pytest.raises(MMFairseqError, match="audio backbone cannot be exported: openSMILE"):
        parts_for(ssl_fusion({"audio": "egemaps"}))
    omitted = ssl_fusion({"text": "embedding"})
    omitted.backbones = BackboneSet({"text": entry("embedding", frozen=True) | {"omitted": True}})
    with pytest.raises(MMFairseqError, match=r"omit-frozen-backbones.*--part fusion"):
        parts_for(omitted)
    assert [part.name for part in parts_for(omitted, "fusion")] == ["fusion"]
    assert main(["export", "--list"]) == 0
    told = capsys.readouterr().out
    assert "openSMILE" in told
    assert "wav2vec2_segments" in told
    assert main(["export", "--out", str(tmp_path)]) == 2
    assert "--checkpoint and --out are needed" in capsys.readouterr().err


def test_torchscript_of_a_graph(tmp_path):
    """The architecture furthest from a plain network, with a backbone that cuts windows."""
    model = ARCHITECTURES["av_graph"]()
    [part] = parts_for(model)
    assert tried(part, samples_of(model), ["torchscript"], tmp_path)["torchscript"] < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_in_every_format(architecture, tmp_path):
    model, perceived = ARCHITECTURES[architecture](), architecture == "perceiver_emo"
    for name in ("model", "fusion"):
        [part] = parts_for(model, name, perceived)
        samples = samples_of(model, perceived) if name == "model" else features_of(part)
        found = tried(part, samples, FORMATS, tmp_path)
        assert max(found.values()) < 1e-4, found


def features_of(part):
    """Rows of drawn features for a fusion."""
    random = np.random.default_rng(0)
    rows = [{port.name: length for port in part.ports} for length in (7, 1, 4)]
    rows[2].pop(part.ports[0].name)
    trailing = {port.name: port.trailing for port in part.ports}
    return [
        exports.Sample(
            f"row {number}",
            {name: random.standard_normal((length, *trailing[name]), np.float32) for name, length in row.items()},
            real=True,
        )
        for number, row in enumerate(rows)
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_in_every_format(fusion, tmp_path):
    model = ssl_fusion(fusion=fusion)
    [part] = parts_for(model, "fusion")
    found = tried(part, features_of(part), FORMATS, tmp_path)
    assert max(found.values()) < 1e-4, found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(set(ARGS) - {"egemaps", "r3d_18", "fabnet", "pixels"}))
def test_every_backbone_in_every_format(name, tmp_path):
    modality = modality_of(name).replace("any", "video")
    assert refusal(BackboneSet({modality: entry(name)}).encoders[modality]) == ""
    model = ssl_fusion({modality: name}, max_positions_t=20, max_positions_a=max(LENGTHS["audio"]))
    [part] = parts_for(model, "backbones")
    found = tried(part, samples_of(model), FORMATS, tmp_path)
    assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize("name", ["mfcc", "logmel"])
def test_quiet_bands_of_a_spectrum_in_onnx(name, tmp_path):
    """Beside a loud tone, of whose FFT the other runtime makes more noise than torch."""
    [part] = parts_for(ssl_fusion({"audio": name}, max_positions_a=max(LENGTHS["audio"])), "backbones")
    noise = np.random.default_rng(0).standard_normal(20000)
    tone = np.round(2000 * np.sin(np.arange(20000) * 0.08) + 2 * noise).astype(np.float32) / 32768
    samples = [exports.Sample("tone", {"audio": tone}, real=True)]
    assert tried(part, samples, ["onnx"], tmp_path)["onnx"] < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_backbones_and_fusion_one_after_the_other(small_models, tmp_path):
    model = small_models.model("ssl_fusion")
    for part in ("backbones", "fusion"):
        told = export(model, tmp_path, "onnx", part)
        assert all(each["passed"] for each in told.values())
    inputs = model.read(small_models.clips()[0])
    np.savez(tmp_path / "inputs.npz", **inputs.items)
    found, wanted = run_alone(tmp_path, "--inputs", tmp_path / "inputs.npz"), model.answer([inputs])[0]
    assert scores_of(found["emotion"]) == pytest.approx(scores_of(wanted), abs=1e-5)


def test_capture_leaves_lengths_open():
    model = ssl_fusion({"text": "embedding"})
    [part] = parts_for(model)
    run = capture(part).module(check_guards=False)
    for rows, length in ((1, 1), (1, 30), (5, 2)):
        x = torch.randint(4, 19, (rows, length))
        mask = torch.zeros(rows, length, dtype=torch.bool)
        found = run({"text": x}, {"text": mask})
        assert {name: each.shape for name, each in found.items()} == {
            f"logits_{name}": (rows, size) for name, size in OUTPUTS.items()
        }
        torch.testing.assert_close(found["logits_emotion"], model({"text": x}, {"text": mask})["logits"]["emotion"])
