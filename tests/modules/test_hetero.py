"""Layers over nodes of two kinds against dense float64 arithmetic."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.modules.graph import adjacency
from mm_fairseq.modules.hetero import CROSS, ClipNorm, HeteroLayer, NodeNorm

D = 12
NODES = {"audio": 9, "video": 6}


def layer_of(cross=True, residual=True, kinds=("audio", "video"), dropout=0.0):
    torch.manual_seed(1)
    layer = HeteroLayer(kinds, D, ("video", "audio") if cross else None, dropout, residual)
    for name, weight in layer.named_parameters():
        if weight.dim() == 1 or "att_" in name:
            nn.init.normal_(weight)
    for norm in layer.norms.values():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return layer.eval()


def random_graph(seed, share=0.4):
    """Who hears whom, dense, a row a target; states."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {**{kind: (count, count) for kind, count in NODES.items()}, CROSS: (NODES["audio"], NODES["video"])}
    heard = {kind: torch.rand(size, generator=generator) < share for kind, size in sizes.items()}
    return heard, {kind: torch.randn(count, D, generator=generator) for kind, count in NODES.items()}


def sparse(heard):
    edges = {kind: each.nonzero().T.flip(0) for kind, each in heard.items()}
    return {k: e if k == CROSS else adjacency(e, len(heard[k]), torch.float) for k, e in edges.items()}


def dense(layer, x, heard):
    """Mean of what is heard and attention over it, by matrices in double precision."""
    weights = {key: value.double() for key, value in layer.state_dict().items()}
    x = {kind: each.double() for kind, each in x.items()}
    out = {}
    for kind, each in x.items():
        prefix = "shared" if layer.cross else f"within.{kind}"
        adjacent = heard[kind].double()
        mean = adjacent / adjacent.sum(1, keepdim=True).clamp(min=1)
        out[kind] = mean @ each @ weights[f"{prefix}.lin_l.weight"].T + weights[f"{prefix}.lin_l.bias"]
        out[kind] += each @ weights[f"{prefix}.lin_r.weight"].T
    if layer.cross:
        sent = x["video"] @ weights["between.lin_src.weight"].T
        asked = x["audio"] @ weights["between.lin_dst.weight"].T
        scores = (sent * weights["between.att_src"][0]).sum(1) + (asked * weights["between.att_dst"][0]).sum(1)[:, None]
        scores = F.leaky_relu(scores, 0.2).masked_fill(~heard[CROSS], -torch.inf)  # audio x video
        out["audio"] += scores.softmax(1).nan_to_num(0.0) @ sent + weights["between.bias"]
    for kind, each in out.items():
        norm = {key: weights[f"norms.{kind}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        each = (each - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * norm["weight"] + norm["bias"]
        out[kind] = each * each.sigmoid() + (x[kind] if layer.residual else 0)
    return out


@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("cross", [True, False])
def test_messages_equal_dense_arithmetic(cross, residual, share):
    layer = layer_of(cross, residual)
    for seed in range(5):
        heard, x = random_graph(seed, share)
        with torch.no_grad():
            found = layer(x, sparse(heard))
        for kind, expected in dense(layer, x, heard).items():
            torch.testing.assert_close(found[kind].double(), expected, atol=1e-5, rtol=1e-5)


def test_attention_is_that_of_torch_geometric():
    layer = layer_of()
    heard, x = random_graph(3)
    edges = sparse(heard)[CROSS]
    found = layer._attend(x["video"], x["audio"], edges)
    expected = layer.between((x["video"], x["audio"]), edges)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    weights = list(layer.between.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), weights), torch.autograd.grad(expected.square().sum(), weights)
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_fusion_layer_has_one_sage_for_both():
    assert sum(weight.numel() for weight in layer_of().shared.parameters()) == 2 * D * D + D
    assert not hasattr(layer_of(), "within")
    assert {key for key in layer_of(cross=False).state_dict() if "lin_r" in key} == {
        "within.audio.lin_r.weight",
        "within.video.lin_r.weight",
    }


@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize(("audio", "video"), [(0, 5), (5, 0), (1, 1), (0, 0), (1, 0)])
def test_kinds_with_no_node_or_one(cross, audio, video):
    layer = layer_of(cross).train()
    x = {"audio": torch.randn(audio, D), "video": torch.randn(video, D)}
    edges = {kind: adjacency(torch.zeros(2, 0, dtype=torch.long), len(each), torch.float) for kind, each in x.items()}
    edges[CROSS] = torch.zeros(2, min(audio, video), dtype=torch.long)
    out = layer(x, edges)
    assert {kind: len(each) for kind, each in out.items()} == {"audio": audio, "video": video}
    sum(each.square().sum() for each in out.values()).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in layer.parameters())


def test_batch_norm_trains_is_saved_and_switches():
    norm, x = NodeNorm(D), 3 + 2 * torch.randn(40, D)
    theirs = nn.BatchNorm1d(D)
    torch.testing.assert_close(norm(x), theirs(x))
    assert {"weight", "bias", "running_mean", "running_var"} < norm.state_dict().keys()
    assert norm.state_dict()["running_mean"].abs().min() > 0
    before = norm.running_mean.clone()
    one = norm(x[:1])
    assert torch.equal(norm.running_mean, before)  # one node has no variance
    torch.testing.assert_close(one, norm.eval()(x[:1]))
    torch.testing.assert_close(norm(x), theirs.eval()(x))


def test_clip_norm_is_torchs_over_the_real_nodes_of_each_clip():
    torch.manual_seed(0)
    norm, lengths = ClipNorm(D), [7, 1, 0, 4]
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    mask = torch.arange(7) >= torch.tensor(lengths)[:, None]
    x = (5 + 3 * torch.randn(4, 7, D)).masked_fill(mask[..., None], 0).requires_grad_()
    out = norm(x, mask)
    for row, length in enumerate(lengths):
        assert (out[row, length:] == 0).all()
        if length:
            alone = F.layer_norm(x[row, :length], (length, D)) * norm.weight + norm.bias
            torch.testing.assert_close(out[row, :length], alone, atol=1e-5, rtol=1e-5)
    out.pow(3).sum().backward()
    assert x.grad.isfinite().all()
    assert norm.weight.grad.abs().min() > 0


def test_clip_norm_of_many_nodes_in_half_precision():
    torch.manual_seed(6)
    norm, x = ClipNorm(512), 2 * torch.randn(2, 200, 512) + 1
    mask = torch.arange(200) >= torch.tensor([[200], [150]])
    x = x.masked_fill(mask[..., None], 0.0)
    found = norm.half()(x.half(), mask)
    assert found.dtype == torch.half
    torch.testing.assert_close(found.float(), norm.float()(x, mask), atol=5e-3, rtol=5e-3)


def test_dropout_is_drawn_in_training_alone():
    layer = layer_of(dropout=0.5)
    heard, x = random_graph(0)
    edges = sparse(heard)
    assert torch.equal(layer(x, edges)["audio"], layer(x, edges)["audio"])
    layer.train()
    assert not torch.equal(layer(x, edges)["audio"], layer(x, edges)["audio"])


def test_a_missing_library_is_named(monkeypatch):
    for name in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MMFairseqError, match=r"torch_geometric: pip install 'mm-fairseq\[graph\]'"):
        layer_of()
