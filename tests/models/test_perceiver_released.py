"""perceiver_emo from a folder in the layout of deepmind/multimodal-perceiver, against transformers' own model."""

import json
import logging
from pathlib import Path

import pytest
import torch
import torchaudio
from databin_factory import write_data_bin
from model_rows import logits_of as ours_of
from omegaconf import OmegaConf
from perceiver_models import OUTPUTS, SIDE, clips, config_of, released, shaken
from task_factory import task_of

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.models.perceiver import PerceiverEmo, PerceiverEmoConfig

pytest.importorskip("transformers")
NAMES = ("audio", "video")


@pytest.fixture(scope="module")
def theirs():
    return released()


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("perceiver")
    theirs.save_pretrained(path)
    return path


def options_of(names=NAMES, **options):
    """Those of the folder's sizes are left alone."""
    cfg = PerceiverEmoConfig(image_size=SIDE, perceiver_dropout=0.0, eval_windows=1, **options)
    cfg.perceiver_dropout = PerceiverEmoConfig.perceiver_dropout
    cfg.backbone_args = config_of(names).backbone_args
    return cfg


def loaded(folder, names=NAMES, outputs=OUTPUTS, **options):
    cfg = options_of(names, **options)
    cfg.fusion_args, weights = PerceiverEmo.read_fusion(folder)
    torch.manual_seed(3)
    model = PerceiverEmo(cfg, outputs)
    model.load_fusion(weights)
    return model.eval()


def inputs_of(frames=(4, 4), audio=True):
    """As ours takes them, as transformers does, and transformers' mask of tokens."""
    rows = clips(NAMES, frames)
    most = max(frames)
    ours, masks = {}, {}
    for name, length in (("audio", 640), ("video", 1)):
        made = [torch.from_numpy(row[name]) for row in rows]
        ours[name] = torch.nn.utils.rnn.pad_sequence(made, batch_first=True)
        ends = torch.tensor(frames) * length
        masks[name] = torch.arange(most * length) >= ends[:, None]
    if not audio:
        masks["audio"][:] = True
    sound = torchaudio.functional.resample(ours["audio"], 16000, 48000)
    sound = torch.nn.functional.pad(sound, (0, 7680 - sound.size(1)))
    pictures = torch.nn.functional.pad(ours["video"], (0, 0) * 3 + (0, 4 - most)) / 255
    given = {"audio": sound[..., None], "image": pictures, "label": torch.zeros(len(frames), 9)}
    there = torch.arange(4) < torch.tensor(frames)[:, None]
    seen = [there.repeat_interleave(120, 1) & audio, there.repeat_interleave(16, 1), torch.ones(len(frames), 1)]
    return ours, masks, given, torch.cat([each.float() for each in seen], 1)


def logits_of(theirs, fused):
    """The label classifier left unchanged."""
    return theirs.perceiver.output_postprocessor.modalities["label"].classifier(fused)


@pytest.mark.parametrize(("frames", "audio"), [((4, 4), True), ((4, 3), True), ((2, 1), True), ((4, 4), False)])
@torch.no_grad()
def test_logits_equal_those_of_transformers(folder, theirs, frames, audio):
    ours, masks, given, seen = inputs_of(frames, audio)
    if not audio:
        given["audio"] = 0 * given["audio"]
    points = {name: torch.tensor([0]) for name in ("audio", "image")} | {"label": None}
    expected = theirs(inputs=given, attention_mask=seen, subsampled_output_points=points).logits["label"]
    found = logits_of(theirs, loaded(folder)(ours, masks)["features"]["fused"])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 0.01


def test_reconstruction_is_that_of_transformers_and_so_is_its_gradient(folder, theirs, monkeypatch):
    """In training, where the dropout of attention is off in both."""
    ours, masks, given, seen = inputs_of((4, 4))
    flat = {"audio": torch.tensor([5, 100, 479]), "image": torch.tensor([0, 77, 255, 256, 1023])}
    axes = {(480,): "audio", (4, SIDE, SIDE): "image"}

    def draw(sizes, count, device):
        assert count == 5
        index = torch.stack(torch.unravel_index(flat[axes[tuple(sizes)]], tuple(sizes)), 1)
        return index, -1 + 2 * index / torch.tensor(sizes)

    monkeypatch.setattr("mm_fairseq.modules.reconstruction.draw", draw)
    model = loaded(folder, reconstruction_weight=0.25, reconstruction_points=5).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    out = model(ours, masks)
    decoded = theirs(inputs=given, attention_mask=seen, subsampled_output_points={**flat, "label": None}).logits
    pixels = given["image"].transpose(2, 4).transpose(2, 3).flatten(1, 3)[:, flat["image"]]  # colours last
    samples = given["audio"][..., 0].unflatten(1, (-1, 16))[:, flat["audio"]].flatten(1)
    errors = (decoded["image"] - pixels).square().mean((1, 2)), (decoded["audio"] - samples).square().mean(1)
    expected = 0.25 * (errors[0] + errors[1]) / 2
    torch.testing.assert_close(out["losses"]["reconstruction"], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits_of(theirs, out["features"]["fused"]), decoded["label"], atol=1e-4, rtol=1e-4)
    theirs.zero_grad()
    (expected.sum() + decoded["label"].sum()).backward()
    (out["losses"]["reconstruction"].sum() + logits_of(theirs, out["features"]["fused"]).sum()).backward()
    others = dict(theirs.perceiver.named_parameters())
    for name, weight in model.net.named_parameters():
        if weight.requires_grad and not name.endswith("key.bias"):  # of which there is none but for rounding
            scale = float(others[name].grad.abs().max())
            torch.testing.assert_close(weight.grad, others[name].grad, atol=1e-3 * scale, rtol=1e-3, msg=name)
    theirs.zero_grad()


def test_every_weight_is_used_or_named(folder, theirs, caplog):
    for weight, left in ((0.0, {"decoder.padding", "output_postprocessor"}), (0.1, set())):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            model = loaded(folder, reconstruction_weight=weight)
        (told,) = [record.getMessage() for record in caplog.records if "pretrained Perceiver" in record.getMessage()]
        named = set(told.partition("left out: ")[2].partition(";")[0].split(", "))
        keys = set(theirs.perceiver.state_dict())
        used = keys - named
        assert used | named == keys
        own = model.net.state_dict()
        assert used <= set(own)
        for key in used:
            assert torch.equal(own[key], theirs.perceiver.state_dict()[key]), key
        assert "new: input_preprocessor.padding.label" in told
        expected = {"input_preprocessor.mask.audio", "input_preprocessor.mask.image"}
        expected |= {
            "input_preprocessor.padding.label",
            *(key for key in keys if "postprocessor.modalities.label" in key),
        }
        if left:
            expected |= {"decoder.padding.audio", "decoder.padding.image"}
            expected |= {key for key in keys if "postprocessor" in key}
        assert named == expected


def test_pytorch_model_bin_gives_the_same(folder, theirs, tmp_path):
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    (sizes, weights), (other, same) = (PerceiverEmo.read_fusion(path) for path in (folder, tmp_path))
    assert sizes == other
    assert all(torch.equal(weights[key], same[key]) for key in {*weights, *same})


def test_text_joins_a_released_checkpoint(folder):
    names = ("audio", "text", "video")
    model, rows = shaken(loaded(folder, names)), clips(names, (4, 4))
    assert model.text.padding.numel() == model.sizes["width"] - 256 - 129
    before = ours_of(model, rows, names)
    rows[0]["text"] = rows[0]["text"] % 5 + 4
    change = (ours_of(model, rows, names) - before).abs().amax(1)
    assert change[0] > 1e-4
    assert change[1] < 1e-5


def edited(folder, tmp_path, change, weights=None):
    """A copy with another config.json, and with other weights."""
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = load_file(folder / "model.safetensors")
    if weights:
        weights(state)
    save_file(state, tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "bert"}, "model_type 'bert'.*takes 'perceiver' of PerceiverForMultimodalAutoencoding"),
        ({"architectures": ["PerceiverForMaskedLM"]}, "architectures .*PerceiverForMaskedLM"),
        ({"num_latents": 7}, r"embeddings.latents is \(6, 16\), config.json asks for \(7, 16\)"),
        ({"num_latents": 16000, "d_latents": 16000}, "too small for the sizes"),
        ({"num_latents": "6"}, "num_latents is '6', expected a value of type int"),
        ({"num_latents": 0}, "num_latents 0: at least 1"),
        ({"hidden_act": "evil"}, "hidden_act is 'evil'; allowed: gelu"),
        ({"num_self_attends_per_block": 3}, "16 weights are missing: perceiver.encoder.self_attends.2"),
        ({"num_self_attends_per_block": 1}, "16 weights are unknown: perceiver.encoder.self_attends.1"),
        ({"output_shape": [1, 4, 9, 9]}, r"output_shape is \[1, 4, 9, 9\], expected"),
        ({"num_self_attention_heads": 3}, "num_self_attention_heads 3 does not divide d_latents"),
    ],
)
def test_a_folder_that_does_not_fit_is_told(folder, tmp_path, change, words):
    with pytest.raises(MMFairseqError, match=words):
        PerceiverEmo.read_fusion(edited(folder, tmp_path, lambda config: config.update(change)))


def test_damaged_and_missing_files_are_told(folder, tmp_path):
    with pytest.raises(MMFairseqError, match="not a folder"):
        PerceiverEmo.read_fusion(tmp_path / "nowhere")
    with pytest.raises(MMFairseqError, match="no weights in the folder"):
        PerceiverEmo.read_fusion(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 10**6)
    with pytest.raises(MMFairseqError, match=r"no config\.json"):
        PerceiverEmo.read_fusion(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(MMFairseqError, match=r"model\.safetensors: not readable"):
        PerceiverEmo.read_fusion(tmp_path)


def test_options_that_contradict_the_folder_are_told(folder):
    with pytest.raises(MMFairseqError, match="--num-latents 99: the checkpoint of --perceiver has 6"):
        loaded(folder, num_latents=99)
    assert loaded(folder, num_latents=6).sizes["num_latents"] == 6


def test_options_to_model_and_back_without_the_folder(folder, tmp_path):
    data_bin = write_data_bin(tmp_path / "data-bin", frame_size=SIDE)
    cfg = OmegaConf.create({**vars(PerceiverEmoConfig()), "_name": "perceiver_emo", "perceiver": str(folder)})
    cfg.image_size = SIDE
    model = task_of(data_bin, modalities="audio,text,video").build_model(cfg)
    assert cfg.backbone_args["video"]["args"] == {"size": SIDE, "fps": 5.0}
    assert cfg.fusion_args["num_latents"] == 6
    cfg.perceiver = str(Path("/gone"))
    outputs = {"emotion": 4}
    copy = PerceiverEmo(cfg, outputs)  # from what the checkpoint holds alone
    copy.load_state_dict(model.state_dict())
    cfg.image_size = 224
    cfg.fusion_args = None
    cfg.backbone_args = None
    with pytest.raises(MMFairseqError, match="gone"):
        task_of(data_bin, modalities="audio,text,video").build_model(cfg)
