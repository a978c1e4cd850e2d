"""The fusion baselines against their papers' formulas, row by row in double precision, whatever is missing."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from mm_fairseq.modules.fusion import Stream
from mm_fairseq.modules.heads import Heads
from mm_fairseq.modules.simple_fusion import GatedFusion, LateFusion, LowRankFusion

DIMS = {"text": 6, "audio": 5, "video": 3}
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(sorted(DIMS), size)]
OUT = 7
ROWS = 5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fusion_of(kind, names=tuple(DIMS)):
    torch.manual_seed(0)
    dims = {name: DIMS[name] for name in names}
    make = {
        "gated": lambda: GatedFusion(dims, OUT),
        "low_rank": lambda: LowRankFusion(dims, OUT, rank=3),
        "late": lambda: LateFusion(dims, dropout=0.0),
    }
    fusion = make[kind]()
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.7)
    return fusion.double()


def streams_of(names=tuple(DIMS), missing=()):
    """Position 0 is what counts; `missing` holds (modality, row) pairs, where something stands all the same."""
    generator = torch.Generator().manual_seed(1)
    out = {}
    for name in names:
        present = torch.tensor([(name, row) not in missing for row in range(ROWS)])
        x = torch.randn(ROWS, 4, DIMS[name], dtype=torch.float64, generator=generator)
        out[name] = Stream(x, ~present[:, None].expand(ROWS, 4), present)
    return out


def vectors(streams, row):
    """Modality to its vector (D_m) for those that the row has."""
    return {name: stream.x[row, 0].numpy() for name, stream in streams.items() if stream.present[row]}


def weights(module):
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def gated(fusion, given, names):
    """Softmax of the present modalities' scores; of the missing ones the input is zeros."""
    w = weights(fusion)
    joined = np.concatenate([given.get(name, np.zeros(DIMS[name])) for name in sorted(names)])
    scores = {name: w["gates.weight"][k * OUT : (k + 1) * OUT] @ joined for k, name in enumerate(sorted(names))}
    total = sum(np.exp(scores[name]) for name in given)
    return sum(
        (np.exp(scores[name]) / total * np.tanh(w[f"hidden.{name}.weight"] @ x) for name, x in given.items()),
        np.zeros(OUT),
    )


def low_rank(fusion, given, names):
    w, out = weights(fusion), np.zeros(OUT)
    for rank in range(3):
        product = np.ones(OUT)
        for name in names:
            extended = np.append(given.get(name, np.zeros(DIMS[name])), 1)
            product = product * (extended @ w[f"factors.{name}"][rank])
        out = out + w["weights"][rank] * product
    return out + w["bias"]


def late(fusion, given, names):
    w = weights(fusion)
    parts = [
        np.tanh(w[f"hidden.{name}.1.weight"] @ given[name] + w[f"hidden.{name}.1.bias"]) / len(given)
        if name in given
        else np.zeros(DIMS[name])
        for name in sorted(names)
    ]
    return np.concatenate(parts)


FORMULAS = {"gated": gated, "low_rank": low_rank, "late": late}
GAPS = {("audio", 1), ("text", 1), ("video", 2), ("audio", 3), ("text", 3), ("video", 3)}  # row 3 has nothing


@pytest.mark.parametrize("missing", [set(), GAPS], ids=["all there", "gaps"])
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
@pytest.mark.parametrize("kind", FORMULAS)
def test_it_is_the_formula(kind, names, missing):
    fusion, streams = fusion_of(kind, names), streams_of(names, missing)
    out = fusion(streams)
    assert out.shape == (ROWS, fusion.out_dim)
    for row in range(ROWS):
        expected = FORMULAS[kind](fusion, vectors(streams, row), names)
        np.testing.assert_allclose(out[row].detach().numpy(), expected, atol=1e-12, err_msg=str(row))


def test_the_gated_unit_of_two_is_that_of_the_paper():
    """`z = sigmoid(W_z [x; y])`, `h = z * tanh(W_x x) + (1 - z) * tanh(W_y y)`, equation 4."""
    fusion, streams = fusion_of("gated", ("audio", "text")), streams_of(("audio", "text"))
    w = weights(fusion)
    for row in range(ROWS):
        x, y = (streams[name].x[row, 0].numpy() for name in ("audio", "text"))
        z = sigmoid((w["gates.weight"][:OUT] - w["gates.weight"][OUT:]) @ np.concatenate([x, y]))
        expected = z * np.tanh(w["hidden.audio.weight"] @ x) + (1 - z) * np.tanh(w["hidden.text.weight"] @ y)
        np.testing.assert_allclose(fusion(streams)[row].detach().numpy(), expected, atol=1e-12)


def test_low_rank_is_the_full_tensor():
    """The outer product of all `[x_m; 1]` with the tensor that the factors span (equations 2 to 5)."""
    fusion, streams = fusion_of("low_rank"), streams_of()
    w = weights(fusion)
    factors = [w[f"factors.{name}"] for name in sorted(DIMS)]
    tensor = np.einsum("r,rad,rbd,rcd->abcd", w["weights"], *factors)
    for row in range(ROWS):
        z = [np.append(streams[name].x[row, 0].numpy(), 1) for name in sorted(DIMS)]
        expected = np.einsum("abcd,a,b,c->d", tensor, *z) + w["bias"]
        np.testing.assert_allclose(fusion(streams)[row].detach().numpy(), expected, atol=1e-11)


def test_late_fusion_averages_the_logits_of_its_heads():
    fusion, streams = fusion_of("late"), streams_of(missing=GAPS)
    torch.manual_seed(2)
    heads = Heads(fusion.out_dim, {"emotion": 4}, dropout=0.0, hidden=False).double()
    weight, bias = (value.detach().numpy() for value in heads.out["to_emotion"].parameters())
    out = heads(fusion(streams))["emotion"].detach().numpy()
    pieces = dict(zip(sorted(DIMS), np.split(weight, np.cumsum([DIMS[n] for n in sorted(DIMS)])[:-1], 1), strict=True))
    w = weights(fusion)
    for row in range(ROWS):
        logits = [
            pieces[name] @ np.tanh(w[f"hidden.{name}.1.weight"] @ x + w[f"hidden.{name}.1.bias"]) + bias
            for name, x in vectors(streams, row).items()
        ]
        np.testing.assert_allclose(out[row], np.mean(logits, 0) if logits else bias, atol=1e-12)


@pytest.mark.parametrize("kind", FORMULAS)
def test_what_is_missing_and_who_stands_beside_it_change_nothing(kind):
    fusion, streams = fusion_of(kind), streams_of(missing=GAPS)
    before = fusion(streams)
    for name, stream in streams.items():
        stream.x[~stream.present] = float("nan")
        alone = {other: Stream(*(part[1:2] for part in streams[other])) for other in streams}
        torch.testing.assert_close(fusion(alone)[0], before[1], msg=name)
    torch.testing.assert_close(fusion(streams), before, atol=0, rtol=0)


@pytest.mark.parametrize("kind", FORMULAS)
def test_gradients_are_finite_and_reach_every_weight(kind):
    fusion, streams = fusion_of(kind), streams_of(missing=GAPS)
    for stream in streams.values():
        stream.x.requires_grad_()
    fusion(streams).square().sum().backward()
    assert all(weight.grad.isfinite().all() and weight.grad.abs().sum() > 0 for weight in fusion.parameters())
    for name, stream in streams.items():
        assert stream.x.grad.isfinite().all()
        assert (stream.x.grad[~stream.present] == 0).all(), name
        assert (stream.x.grad[stream.present][:, 0] != 0).any(), name


@pytest.mark.parametrize("kind", FORMULAS)
def test_half_precision(kind):
    fusion, streams = fusion_of(kind).half(), streams_of(missing=GAPS)
    out = fusion({name: stream._replace(x=stream.x.half()) for name, stream in streams.items()})
    assert out.dtype == torch.half
    assert out.isfinite().all()
