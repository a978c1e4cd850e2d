"""av_graph: the graph of a clip is its own, whatever is missing in it or beside it."""

import sys

import model_rows
import pytest
import torch
from databin_factory import write_data_bin
from model_rows import GAPS, logits_of
from omegaconf import OmegaConf
from small_backbones import entry, items
from task_factory import criterion_of, task_of
from torch import nn

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.models.av_graph import AVGraph, AVGraphConfig, fusion_layers
from mm_fairseq.modules.hetero import NodeNorm

OUTPUTS = {"event": 4, "loudness": 1}
LENGTHS = {"audio": (4000, 900, 1700, 400), "video": (3, 1, 2, 1)}
SUBSETS = [("audio",), ("video",), ("audio", "video")]
WIDTH = {"audio": 8, "video": 6}
NODES = {"audio": (9, 2, 4, 1), "video": (5, 3, 1, 1)}
SIZES = {"hidden_channels": 8, "num_layers": 3}
CALM = {"adjacency_dropout": 0.0, "graph_dropout": 0.0}
GAPS = {name: {gap for gap in gaps if gap[0] != "text"} for name, gaps in GAPS.items() if name != "one left each"}


def model_of(names=("audio", "video"), raw=False, **options):
    """Over cached features, or over raw audio and features of video."""
    torch.manual_seed(0)
    cfg = AVGraphConfig(**{**SIZES, **options})
    features = {name: {"name": "features", "args": {"dim": WIDTH[name]}, "frozen": False} for name in names}
    cfg.backbone_args = features | ({"audio": entry("wav2vec2_segments")} if raw and "audio" in names else {})
    model = AVGraph(cfg, OUTPUTS)
    for name, parameter in model.named_parameters():
        if "score" in name:
            nn.init.normal_(parameter)
    for norm in model.modules():
        if isinstance(norm, NodeNorm):
            norm.running_mean.normal_(std=0.2)
            norm.running_var.uniform_(0.5, 2)
    return model.eval()


def rows_of(names=("audio", "video"), gaps=(), nodes=NODES):
    """Four rows of features."""
    generator = torch.Generator().manual_seed(5)
    made = {name: [torch.randn(n, WIDTH[name], generator=generator).numpy() for n in nodes[name]] for name in names}
    return [{name: None if (name, row) in gaps else made[name][row] for name in names} for row in range(4)]


def given(rows, names=("audio", "video")):
    """Inputs and masks of rows of features."""
    longest = {name: max([1, *(len(row[name]) for row in rows if row[name] is not None)]) for name in names}
    inputs = {name: torch.zeros(len(rows), longest[name], WIDTH[name]) for name in names}
    masks = {name: torch.ones(len(rows), longest[name], dtype=torch.bool) for name in names}
    for number, row in enumerate(rows):
        for name in names:
            if row[name] is not None:
                inputs[name][number, : len(row[name])] = torch.from_numpy(row[name])
                masks[name][number, : len(row[name])] = False
    return inputs, masks


def scores(model, rows, names=("audio", "video")):
    device = next(model.parameters()).device
    inputs, masks = ({name: x.to(device) for name, x in part.items()} for part in given(rows, names))
    with torch.no_grad():
        out = model(inputs, masks)["logits"]
    assert {name: each.shape[1] for name, each in out.items()} == OUTPUTS
    return torch.cat(list(out.values()), 1).cpu()


VARIANTS = [
    {},
    {"cross_edges": "static", "fusion_layers": "0,1,2"},
    {"distance": "euclidean", "fusion_layers": "[0, -1]", "self_loops": True},
    {"no_normalize": True, "no_residual": True, "span_over_time_audio": 3, "audio_dilation": 2},
    {"fusion_layers": "[]"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_alone_equals_batched(names, options, device):
    model, rows = model_of(names, **options).to(device), rows_of(names)
    together = scores(model, rows, names)
    alone = torch.cat([scores(model, [row], names) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3  # the input does matter


@pytest.mark.parametrize("options", [each for each in VARIANTS if "cross_edges" not in each], ids=str)
def test_in_training_rows_meet_in_batch_norm_alone(options):
    model, rows = model_of(**CALM, **options).train(), rows_of()
    for norm in model.modules():
        if isinstance(norm, NodeNorm):
            norm.eval()
    alone = torch.cat([scores(model, [row]) for row in rows])
    torch.testing.assert_close(scores(model, rows), alone, atol=1e-5, rtol=1e-5)


def test_raw_audio_in_any_company():
    names = ("audio",)
    model = model_of(names, raw=True)
    rows = model_rows.rows_of(LENGTHS, names)
    together = logits_of(model, rows, names)
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-4


def test_raw_pictures_are_nodes():
    cfg = AVGraphConfig(**SIZES)
    cfg.backbone_args = {"audio": entry("wav2vec2_segments"), "video": entry("r3d_18")}
    torch.manual_seed(0)
    model, names = AVGraph(cfg, OUTPUTS).eval(), ("audio", "video")
    rows = [
        {"audio": items("audio", [4000])[0], "video": items("video", [5])[0]},
        {"audio": items("audio", [900], 1)[0], "video": items("video", [1], 1)[0]},
    ]
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    torch.testing.assert_close(logits_of(model, rows, names), alone, atol=1e-5, rtol=1e-5)
    assert model.input_limits() == {"audio": (60, 700 + 119 * 450), "video": (1, 4 + 59 * 2)}


@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
@pytest.mark.parametrize("options", VARIANTS[:2], ids=str)
def test_missing_modalities_are_the_same_in_any_company(gaps, options):
    model, rows = model_of(**options), rows_of(gaps=gaps)
    together = scores(model, rows)
    assert together.isfinite().all()
    torch.testing.assert_close(together, torch.cat([scores(model, [row]) for row in rows]), atol=1e-5, rtol=1e-5)
    untouched = [row for row in range(4) if not any((name, row) in gaps for name in NODES)]
    torch.testing.assert_close(together[untouched], scores(model, rows_of())[untouched], atol=1e-5, rtol=1e-5)


def test_a_missing_modality_is_a_zero_vector():
    model = model_of()
    inputs, masks = given(rows_of(gaps={("audio", 0), ("video", 1)}))
    fused = model(inputs, masks)["features"]["fused"].detach()
    audio, video = fused.split(8, 1)
    assert (audio[0] == 0).all()
    assert (video[1] == 0).all()
    assert (audio[1:].abs().amax(1) > 0).all()
    assert (video[[0, 2, 3]].abs().amax(1) > 0).all()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_training_survives_what_is_missing(gaps, options):
    model = model_of(**options).train()
    logits = model(*given(rows_of(gaps=gaps)))["logits"]
    sum(each.sum() for each in logits.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_gradients_reach_every_parameter(names, options):
    model = model_of(names, **CALM, **options).train()
    torch.manual_seed(2)
    logits = model(*given(rows_of(names), names))["logits"]
    sum((each * torch.randn_like(each)).sum() for each in logits.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("layers", ["0,1", "[-1]"])
def test_autocast(layers):
    model = model_of(fusion_layers=layers).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(*given(rows_of()))["logits"]
    sum(each.float().sum() for each in logits.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_normalisation_is_registered_trained_saved_and_switched():
    """The original's first defect."""
    model, rows = model_of(**CALM), rows_of()
    norms = {name: norm for name, norm in model.named_modules() if isinstance(norm, nn.BatchNorm1d)}
    assert set(norms) == {f"layers.{layer}.norms.{name}" for layer in range(3) for name in NODES}
    saved = model.state_dict()
    for name in norms:
        assert {f"{name}.weight", f"{name}.bias", f"{name}.running_mean", f"{name}.running_var"} <= saved.keys()
    before = {key: value.clone() for key, value in saved.items()}
    model.train()
    scores(model, rows)
    assert all((model.state_dict()[f"{name}.running_mean"] != before[f"{name}.running_mean"]).all() for name in norms)
    copy = model_of()
    copy.load_state_dict(model.state_dict())
    torch.testing.assert_close(scores(copy, rows), scores(model.eval(), rows))
    assert {f"norms.{name}.weight" for name in NODES} <= saved.keys()


def edges_seen(model, rows):
    """How many edges the layers read: of audio, of video, across."""
    seen = []
    hook = model.layers[-1].register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    scores(model, rows)
    hook.remove()
    return [int(seen[0][name].values().numel()) for name in NODES] + [seen[0]["cross"].size(1)]


def test_edges_are_dropped_in_training_alone():
    model, rows = model_of(adjacency_dropout=0.5, graph_dropout=0.0), rows_of()
    whole = [9 * 4 + 2 + 4 * 3, 5 * 2 + 3 * 2, 5 * 3 + 3 * 2 + 3 + 1]
    assert edges_seen(model, rows) == whole
    torch.manual_seed(0)
    model.train()
    found = [edges_seen(model, rows) for _ in range(40)]
    for kind in range(3):
        assert len({each[kind] for each in found}) > 1
        assert sum(each[kind] for each in found) == pytest.approx(20 * whole[kind], rel=0.25)


def test_dynamic_draws_in_training_alone():
    options = {"dynamic": True, "span_over_time_audio": 4, "audio_dilation": 2, **CALM}
    model, rows = model_of(**options), rows_of()
    assert edges_seen(model, rows) == edges_seen(model_of(**{**options, "dynamic": False}), rows)
    assert torch.equal(scores(model, rows), scores(model, rows))
    model.train()
    torch.manual_seed(0)
    found = {edges_seen(model, rows)[0] for _ in range(20)}
    assert len(found) > 2
    assert max(found) <= 9 * 8 + 2 + 4 * 3


@pytest.mark.parametrize(("name", "reached"), [("audio", [True, False]), ("video", [True, True])])
def test_audio_hears_video_and_video_does_not_hear_audio(name, reached):
    model, rows = model_of(cross_edges="static"), rows_of()
    changed = [{**row, name: row[name] ** 2} for row in rows]
    fused = [model(*given(each))["features"]["fused"] for each in (rows, changed)]
    parts = (fused[1] - fused[0]).abs().split(8, 1)
    assert [bool(part.max() > 1e-4) for part in parts] == reached


def test_several_events_a_clip(tmp_path):
    task = task_of(write_data_bin(tmp_path / "data-bin", every_kind=True, per_class=2), modalities="audio")
    cfg = OmegaConf.create(
        {**vars(AVGraphConfig()), **SIZES, "_name": "av_graph", "audio_backbone": "mfcc:n_mfcc=8,n_mels=16"}
    )
    model = task.build_model(cfg).train()
    assert {name: layer.out_features for name, layer in model.heads.out.items()}["to_events"] == 3
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = dataset.collater([dataset[index] for index in range(len(dataset))])
    criterion = criterion_of(task).train()
    loss, _, _ = criterion(model, batch)
    loss.backward()
    assert loss.isfinite()
    assert model.heads.out["to_events"].weight.grad.abs().max() > 0


def test_options_become_windows():
    cfg = AVGraphConfig()
    assert AVGraph.backbone_defaults(cfg, 20.0) == {
        "audio": {"window": 7680, "hop": 8017},
        "video": {"window": 20, "hop": 20},
    }
    assert "video" not in AVGraph.backbone_defaults(cfg, None)
    cfg = AVGraphConfig(
        num_audio_nodes=1, num_video_nodes=5, video_segment_length=500, clip_seconds=4.0, audio_segment_length=100
    )
    assert AVGraph.backbone_defaults(cfg, 25.0) == {
        "audio": {"window": 1600, "hop": 1600},
        "video": {"window": 12, "hop": 22},
    }


def test_options_reach_the_backbones(data_bin):
    task = task_of(data_bin, modalities="audio")
    options = {"num_audio_nodes": 4, "audio_segment_length": 50, "clip_seconds": 0.4}
    cfg = OmegaConf.create({**vars(AVGraphConfig()), **SIZES, **options, "_name": "av_graph"})
    model = task.build_model(cfg)
    assert (model.backbones.encoders["audio"].window, model.backbones.encoders["audio"].stride) == (800, 1867)
    copy = AVGraph(cfg, {"emotion": 4})  # from what the checkpoint holds alone
    copy.load_state_dict(model.state_dict())


@pytest.mark.parametrize(("text", "found"), [("[-1]", {3}), ("-1", {3}), ("0,2", {0, 2}), ("[]", set()), ("", set())])
def test_lists_of_layers(text, found):
    assert fusion_layers(text, 4) == found


BAD = [
    ({"num_layers": 0}, "--num-layers 0: at least 1"),
    ({"span_over_time_video": 0}, "--span-over-time-video 0: at least 1"),
    ({"adjacency_dropout": 1.0}, r"--adjacency-dropout 1\.0"),
    ({"distance": "manhattan"}, "--distance 'manhattan'; allowed: cosine, euclidean"),
    ({"cross_edges": "all"}, "--cross-edges 'all'; allowed: nearest, static"),
    ({"fusion_layers": "last"}, "--fusion-layers 'last': a comma list"),
    ({"fusion_layers": "[0"}, r"--fusion-layers '\[0': a comma list"),
    ({"fusion_layers": "[3]"}, r"--fusion-layers '\[3\]': no layer 3; allowed: -3 to 2"),
    ({"span_over_time_between": 4}, "--span-over-time-between 4 has no effect: --cross-edges is nearest"),
    ({"cross_edges": "static", "distance": "euclidean"}, "--distance euclidean has no effect"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_options_are_named(options, words):
    with pytest.raises(MMFairseqError, match=words):
        model_of(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_audio_nodes": 0}, "--num-audio-nodes 0, .*: all above 0"),
        ({"clip_seconds": 0.4}, "--num-audio-nodes 20 of --audio-segment-length 480 ms do not fit"),
        ({"audio_backbone": "mfcc", "num_audio_nodes": 30}, "--num-audio-nodes 30 has no effect: .* is mfcc"),
    ],
)
def test_segments_that_cannot_be(options, words):
    with pytest.raises(MMFairseqError, match=words):
        AVGraph.backbone_defaults(AVGraphConfig(**options), 20.0)


def test_text_is_refused():
    cfg = AVGraphConfig(**SIZES)
    cfg.backbone_args = {"audio": entry("mfcc"), "text": entry("embedding")}
    with pytest.raises(MMFairseqError, match="not text: --modalities audio,video"):
        AVGraph(cfg, OUTPUTS)


def test_a_missing_library_is_named(monkeypatch):
    for name in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[graph\]'"):
        model_of()
