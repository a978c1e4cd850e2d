"""What modules do while they are captured, branches that do not look at values, gives what they give else."""

import pytest
import torch
from exporting import ARCHITECTURES, av_graph, crossmodal_mult, parts_for, samples_of, ssl_fusion
from small_backbones import ARGS, entry, items, modality_of

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.datasets import pad
from mm_fairseq.inference.export.parity import cases
from mm_fairseq.inference.export.refusals import REFUSALS, refusal
from mm_fairseq.inference.export.samples import batch_of
from mm_fairseq.models.ssl_fusion import FUSIONS
from mm_fairseq.modules import av_windows, dense_graph
from mm_fairseq.modules.graph import nearest_edges, static_edges, temporal_edges

LENGTHS = {"audio": (4000, 1700, 3999, 700), "text": (9, 3, 8, 2), "video": (5, 1, 3, 2), "any": (9, 3, 8, 2)}
REFUSED = {each.what.removeprefix("backbone ") for each in REFUSALS if each.what.startswith("backbone ")}
WITH = {  # further forms of backbones that have several
    "wav2vec2_segments of a transformer": ("wav2vec2_segments", {"features": "transformer", **ARGS["wav2vec2"]}),
    "normalised wav2vec2_segments": ("wav2vec2_segments", {"normalize": True}),
    "vq_wav2vec of gumbel": ("vq_wav2vec", {"vq_type": "gumbel"}),
    "mfcc at another rate": ("mfcc", {"rate": 8000, "n_fft": 200, "hop": 80}),
    "wav2vec2 of layer norm": ("wav2vec2", {"layer_norm_first": True, "extractor_mode": "layer_norm"}),
    "weighted wav2vec2": ("wav2vec2", {"layer": "weighted"}),
}
FORMS = {name: (name, {}) for name in ARGS if name not in REFUSED} | WITH


@pytest.fixture
def exporting(monkeypatch):
    """Calls a function as if it were captured."""

    def call(function, *args):
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(torch.compiler, "is_exporting", lambda: True)
            return function(*args)

    return call


@pytest.mark.parametrize("form", FORMS)
def test_backbone(form, exporting):
    name, options = FORMS[form]
    modality = modality_of(name).replace("any", "audio")
    torch.manual_seed(0)
    made = entry(name) | {"args": ARGS[name] | options}
    backbones = BackboneSet({modality: made}).eval().requires_grad_(False)
    rows = items(modality_of(name), LENGTHS[modality_of(name)])
    for batch in (rows, [rows[1], None, rows[3]], [None, rows[2]], [rows[3]]):
        like = next(row for row in rows if row is not None)[:0]
        x, mask = pad(batch, int(modality == "text"), like)
        given = ({modality: x}, {modality: mask})
        wanted, got = backbones(*given)[modality], exporting(backbones, *given)[modality]
        most = min(wanted.x.size(1), got.x.size(1))
        assert torch.equal(got.padding_mask[:, :most], wanted.padding_mask[:, :most])
        assert wanted.padding_mask[:, most:].all()
        assert got.padding_mask[:, most:].all()
        torch.testing.assert_close(got.x[:, :most], wanted.x[:, :most], atol=1e-5, rtol=1e-5)
        assert not got.x[got.padding_mask].any()


VARIANTS = (
    {(name, ""): make for name, make in ARCHITECTURES.items()}
    | {("ssl_fusion", fusion): lambda fusion=fusion: ssl_fusion(fusion=fusion) for fusion in FUSIONS}
    | {
        ("crossmodal_mult", "causal"): lambda: crossmodal_mult(attn_mask=True, merge_how="average"),
        ("av_graph", "static"): lambda: av_graph(cross_edges="static", self_loops=True, audio_dilation=2),
        ("av_graph", "euclidean"): lambda: av_graph(distance="euclidean", fusion_layers="0,1", no_residual=True),
        ("perceiver_emo", "one window"): lambda: ARCHITECTURES["perceiver_emo"](eval_windows=1),
        ("perceiver_emo", "projected"): lambda: ARCHITECTURES["perceiver_emo"](num_latents=300),
    }
)


@pytest.mark.parametrize(("architecture", "variant"), VARIANTS, ids=[" ".join(each).strip() for each in VARIANTS])
def test_architecture(architecture, variant, exporting):
    model, perceived = VARIANTS[architecture, variant](), architecture == "perceiver_emo"
    [part] = parts_for(model, perceived=perceived)
    largest = 0.0
    for case in cases(part, samples_of(model, perceived)):
        batch = batch_of(part, case.rows)
        with torch.no_grad():
            wanted = part.module(*batch)
        got = exporting(part.module, *batch)
        for name, x in wanted.items():
            torch.testing.assert_close(got[name], x, atol=2e-5, rtol=1e-5)
            largest = max(largest, float(x.std(0).max()) if len(x) > 1 else 0.0)
    assert largest > 1e-3  # the input does matter


def dense(edges, audio_counts, video_counts):
    """Lists of edges from video to audio as (B, audio, video), padding behind."""
    seen = torch.zeros(len(audio_counts), int(audio_counts.max()), int(video_counts.max()), dtype=torch.bool)
    starts = [torch.cat([torch.zeros(1).long(), counts.cumsum(0)]) for counts in (video_counts, audio_counts)]
    for source, target in edges.T.tolist():
        clip = int((starts[0] <= source).sum()) - 1
        seen[clip, target - int(starts[1][clip]), source - int(starts[0][clip])] = True
    return seen


def mask_of(counts):
    return torch.arange(int(counts.max())) >= counts[:, None]


@pytest.mark.parametrize("seed", range(8))
def test_dense_edges_are_those_of_the_lists(seed):
    random = torch.Generator().manual_seed(seed)
    audio, video = (torch.randint(most, (5,), generator=random) for most in (12, 6))
    audio[0], video[1] = 11, 5
    span, dilation, neighbours = (int(torch.randint(1, 4, (), generator=random)) for _ in range(3))
    like = torch.ones_like(audio)
    for loops in (False, True):
        wanted = dense(temporal_edges(audio, span * like, dilation * like, loops), audio, audio)
        assert torch.equal(dense_graph.temporal(mask_of(audio), span, dilation, loops), wanted)
    wanted = dense(static_edges(video, audio, span * like, False), audio, video)
    assert torch.equal(dense_graph.static(mask_of(video), mask_of(audio), span), wanted)
    states = [torch.randn(5, len(mask[0]), 3, generator=random) for mask in (mask_of(video), mask_of(audio))]
    states[1][0, 3:6] = states[1][0, 2]  # equally near
    masks = (mask_of(video), mask_of(audio))
    flat = [x[~mask] for x, mask in zip(states, masks, strict=True)]
    for distance in ("cosine", "euclidean"):
        wanted = dense(nearest_edges(*flat, *masks, neighbours, distance), audio, video)
        assert torch.equal(dense_graph.nearest(*states, *masks, neighbours, distance), wanted)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_windows_begin_where_they_do_else(count):
    frames = torch.arange(1, 60)
    rows, places = av_windows.starts(frames, 8, count, draw=False)
    begin, there = av_windows.every_start(frames, 8, count)
    assert torch.equal(there.sum(1), torch.bincount(rows))
    assert torch.equal(begin[there], places)


def test_backbones_that_are_refused_say_why():
    assert set(ARGS) >= REFUSED
    assert "openSMILE" in refusal(BackboneSet({"audio": entry("egemaps")}).encoders["audio"])
    assert refusal(BackboneSet({"text": entry("embedding")}).encoders["text"]) == ""
