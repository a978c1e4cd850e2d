"""perceiver_emo: a clip's logits do not depend on its batch, whichever of its modalities are there."""

import numpy as np
import pytest
import torch
from model_rows import GAPS, batch_of, logits_of
from perceiver_models import ENTRIES, FPS, OUTPUTS, SIDE, clips, config_of, model_of

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.models.perceiver import PerceiverEmo

pytest.importorskip("transformers")
ALL = ("audio", "text", "video")
SUBSETS = [("audio",), ("text",), ("video",), ("audio", "video"), ALL]


def alone(model, rows, names):
    return torch.cat([logits_of(model, [row], names) for row in rows])


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_alone_equals_batched(names, device):
    model, rows = model_of(names).to(device), clips(names)
    together = logits_of(model, rows, names)
    assert together.shape == (4, sum(OUTPUTS.values()))
    torch.testing.assert_close(together, alone(model, rows, names), atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3  # the input does matter


@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_missing_modalities_are_the_same_in_any_company(gaps):
    model, rows = model_of(), clips(gaps=gaps)
    together = logits_of(model, rows, ALL)
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone(model, rows, ALL), atol=1e-5, rtol=1e-5)
    whole = logits_of(model, clips(), ALL)
    touched = {row for _, row in gaps}
    for row in range(4):
        change = (together[row] - whole[row]).abs().max()
        assert change > 1e-5 if row in touched else change < 1e-5


@pytest.mark.parametrize("names", [("audio",), ("video",), ("audio", "video")], ids="+".join)
def test_a_modality_that_a_row_lacks_is_one_that_the_model_lacks(names):
    model, rows = model_of(), clips(gaps={(name, row) for name in set(ALL) - set(names) for row in range(4)})
    fewer = model_of(names)
    fewer.load_state_dict({key: value for key, value in model.state_dict().items() if key in fewer.state_dict()})
    torch.testing.assert_close(logits_of(model, rows, ALL), logits_of(fewer, clips(names), names), atol=1e-5, rtol=1e-5)


def test_what_stands_in_the_padding_is_not_seen():
    model, (inputs, masks) = model_of(), batch_of(clips(), ALL)
    expected = model(inputs, masks)["features"]["fused"]
    for name, x in inputs.items():
        x[masks[name]] = 7
    torch.testing.assert_close(model(inputs, masks)["features"]["fused"], expected, atol=1e-5, rtol=1e-5)


def test_windows_are_averaged_and_each_is_that_of_a_cut_clip():
    """Frames 0-3, 2-5 (the middle, rounded) and 5-8 of nine, and the 2560 samples of each."""
    names = ("audio", "video")
    model = model_of(names)
    row = clips(names, frames=(9,))[0]
    row["audio"][:] = 0  # resampling looks a little beyond the ends of a window
    for first in (0, 2, 5):
        row["audio"][first * 640 + 400 : first * 640 + 500] = first + 1
    windows = [
        {"video": row["video"][first : first + 4], "audio": row["audio"][first * 640 : (first + 4) * 640]}
        for first in (0, 2, 5)
    ]
    expected = logits_of(model, windows, names).mean(0)
    torch.testing.assert_close(logits_of(model, [row], names)[0], expected, atol=1e-5, rtol=1e-5)
    model.eval_windows = 1
    torch.testing.assert_close(logits_of(model, [row], names), logits_of(model, windows[1:2], names))


@pytest.mark.parametrize("fps", [25.0, 10.0, 12.5])
def test_sound_and_picture_of_one_time_stay_together(fps, monkeypatch):
    """Frame 9 is white, and in its middle something clicks."""
    entries = ENTRIES | {"video": ENTRIES["video"] | {"args": {"size": SIDE, "fps": fps}}}
    cfg = config_of(("audio", "video"), audio_samples_per_frame=320)
    cfg.backbone_args = {name: entries[name] for name in ("audio", "video")}
    model, samples = PerceiverEmo(cfg, OUTPUTS).train(), int(16000 / fps)
    seen = []
    monkeypatch.setattr(model, "_encode", lambda tokens: seen.append(tokens) or torch.zeros(1, 6, 16))
    video, audio = torch.zeros(1, 20, 3, SIDE, SIDE, dtype=torch.uint8), torch.zeros(1, 20 * samples)
    video[0, 9] = 255
    audio[0, int(9.5 * samples)] = 1
    masks = {"audio": torch.zeros(audio.shape, dtype=torch.bool), "video": torch.zeros(1, 20, dtype=torch.bool)}
    torch.manual_seed(0)
    places = set()
    for _ in range(120):
        model({"audio": audio, "video": video}, masks)
        sound, picture = seen.pop()[:2]
        click = sound.x[0, :, :32].flatten()
        white = picture.x[0, :, :48].mean(1).view(4, -1)
        if white.max() < 1:
            assert click.abs().max() < 0.01
            continue
        place = int(white.mean(1).argmax())
        assert (white[place] == 1).all()
        assert abs(int(click.abs().argmax()) - (place * 320 + 160)) <= 2
        places.add(place)
    assert places == {0, 1, 2, 3}


def test_evaluation_is_deterministic_and_training_is_not():
    model, rows = model_of(eval_windows=1, perceiver_dropout=0.0, head_dropout=0.0), clips()
    assert torch.equal(logits_of(model, rows, ALL), logits_of(model, rows, ALL))
    model.train()
    draws = [logits_of(model, rows, ALL) for _ in range(5)]
    assert max((draw - draws[0])[0].abs().max() for draw in draws) > 1e-3
    torch.manual_seed(7)
    first = logits_of(model, rows, ALL)
    torch.manual_seed(7)
    assert torch.equal(first, logits_of(model, rows, ALL))


@pytest.mark.parametrize(
    ("names", "weight"),
    [*((names, 0.0) for names in SUBSETS), *((names, 0.5) for names in SUBSETS if names != ("text",))],
)
def test_gradients_reach_every_parameter_that_learns(names, weight):
    model = model_of(names, reconstruction_weight=weight, perceiver_dropout=0.0, head_dropout=0.0).train()
    out = model(*batch_of(clips(names), names))
    loss = sum((each * torch.randn_like(each)).sum() for each in out["logits"].values())
    (loss + sum(each.sum() for each in out.get("losses", {}).values())).backward()
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert fixed == {
        "net.input_preprocessor.padding.label",
        "net.encoder.cross_attention.attention.self.key.bias",
    }
    for name, parameter in model.named_parameters():
        if name not in fixed:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all()
            assert parameter.grad.abs().max() > 0, name


def test_of_a_batch_without_anything_every_parameter_still_has_a_gradient():
    """DistributedDataParallel waits for all of them."""
    model = model_of(reconstruction_weight=1.0).train()
    out = model(*batch_of(clips(gaps=GAPS["nothing at all"]), ALL))
    assert (out["losses"]["reconstruction"] == 0).all()
    (sum(each.sum() for each in out["logits"].values()) + out["losses"]["reconstruction"].sum()).backward()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learning)


def test_what_is_recomputed_gives_the_same_gradients():
    found = []
    for again in (False, True):
        model = model_of(perceiver_dropout=0.0, head_dropout=0.0, checkpoint_activations=again).train()
        torch.manual_seed(5)
        out = model(*batch_of(clips(), ALL))["logits"]
        sum(each.square().sum() for each in out.values()).backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, plain, atol=1e-4, rtol=1e-4)


def test_many_heads_project_the_tokens_and_give_the_same(monkeypatch):
    model, rows = model_of(d_latents=16, num_cross_attention_heads=4), clips()
    projected = logits_of(model, rows, ALL)
    monkeypatch.setattr("mm_fairseq.models.perceiver.folding_pays", lambda *_: True)
    torch.testing.assert_close(logits_of(model, rows, ALL), projected, atol=1e-4, rtol=1e-4)


def test_text_is_seen_word_by_word_and_in_its_order():
    model, rows = model_of(), clips()
    before = logits_of(model, rows, ALL)
    rows[0]["text"] = rows[0]["text"][::-1].copy()
    change = (logits_of(model, rows, ALL) - before).abs().amax(1)
    assert change[0] > 1e-3
    assert change[1:].max() < 1e-5


def test_limits_are_those_of_the_options():
    model = model_of(longest_clip=2.0, max_len_for_text=7)
    assert model.input_limits() == {"audio": (1, 32000), "text": (1, 7), "video": (1, 50)}


def test_without_video_windows_have_the_rate_of_the_option():
    assert model_of(("audio",)).fps == 25
    model = model_of(("audio",), window_fps=10.0)
    assert (model.fps, model.rate) == (10, 19200)
    assert logits_of(model, clips(("audio",)), ("audio",)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"d_model": 400}, "--d-model 400: at least 421"),
        ({"initializer_range": 0.0}, r"--initializer-range 0\.0"),
        ({"samples_per_patch": 7}, "--samples-per-patch 7 does not divide the 7680 samples"),
        ({"num_self_attention_heads": 3}, "--num-self-attention-heads 3 does not divide d_latents"),
        ({"num_latents": 0}, "--num-latents 0: at least 1"),
        ({"num_self_attends_per_block": 999}, "--num-self-attends-per-block 999: at most 256"),
        ({"image_size": 18}, "--image-size 18: must be a multiple of 4"),
        ({"image_size": 32}, r"size=16, the network takes pictures of 32x32: --image-size 32"),
        ({"perceiver_dropout": 1.0}, r"--perceiver-dropout 1\.0"),
        ({"head_dropout": -0.1}, "--head-dropout"),
        ({"eval_windows": 0}, "--eval-windows 0: at least 1"),
        ({"reconstruction_weight": -1.0}, "--reconstruction-weight"),
        ({"reconstruction_points": 0}, "--reconstruction-points 0"),
        ({"longest_clip": float("nan")}, "--longest-clip nan"),
        ({"window_fps": 30.0}, r"--window-fps 30\.0: the pictures come at 25 frames a second"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(MMFairseqError, match=words):
        model_of(**options)


def test_more_labels_than_the_padding_allows_are_refused_with_the_number_allowed():
    assert logits_of(model_of(outputs={"one": 400, "other": 20}), clips(), ALL).shape == (4, 420)
    with pytest.raises(MMFairseqError, match=r"421 outputs together, .* 424 numbers leaves room for 420"):
        model_of(outputs={"one": 400, "other": 21})


def test_of_text_alone_nothing_is_reconstructed():
    with pytest.raises(MMFairseqError, match=r"--reconstruction-weight 1\.0: .* neither audio nor video"):
        model_of(("text",), reconstruction_weight=1.0)


def test_other_backbones_are_refused():
    cfg = config_of(("audio",))
    cfg.backbone_args = {"audio": {"name": "mfcc", "args": {}}}
    with pytest.raises(MMFairseqError, match=r"--audio-backbone mfcc: .*--audio-backbone waveform"):
        PerceiverEmo(cfg, OUTPUTS)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[perceiver\]'"):
        PerceiverEmo(config_of(), OUTPUTS)


def test_another_frame_size_than_the_models_is_told():
    model, rows = model_of(("video",)), [{"video": np.zeros((5, 3, 8, 8), np.uint8)}]
    with pytest.raises(MMFairseqError, match="--frame-size 16"):
        logits_of(model, rows, ("video",))


def test_fps_is_that_of_the_backbone():
    assert model_of().fps == FPS
