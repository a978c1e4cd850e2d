"""Edges against their enumeration node by node."""

import numpy as np
import pytest
import torch

from mm_fairseq.modules.graph import (
    adjacency,
    drawn,
    nearest_edges,
    padded,
    static_edges,
    temporal_edges,
    thinned,
    unpadded,
)

COUNTS = torch.tensor([5, 0, 20, 1, 9, 2])
FIRST = (COUNTS.cumsum(0) - COUNTS).tolist()


def pairs(edges):
    found = sorted(map(tuple, edges.T.tolist()))
    assert len(set(found)) == len(found)  # none is there twice
    return found


def same(number, count=6):
    return torch.full((count,), number)


def window(node, count, span, step):
    """What a node hears, by moving a window into the clip step by step."""
    heard = [node + step * offset for offset in range(-span, span + 1)]
    mates = [other for other in range(count) if (other - node) % step == 0]
    if len(mates) <= 2 * span + 1:
        return mates
    while heard[0] < 0:
        heard = [*heard[1:], heard[-1] + step]
    while heard[-1] >= count:
        heard = [heard[0] - step, *heard[:-1]]
    return heard


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize(("span", "dilation"), [(1, 1), (2, 1), (2, 2), (1, 3), (6, 3), (30, 1)])
def test_temporal_edges_are_those_of_a_shifted_window(span, dilation, self_loops):
    expected = [
        (FIRST[clip] + other, FIRST[clip] + node)
        for clip, count in enumerate(COUNTS.tolist())
        for node in range(count)
        for other in window(node, count, span, dilation)
        if self_loops or other != node
    ]
    edges = temporal_edges(COUNTS, same(span), same(dilation), self_loops)
    assert pairs(edges) == sorted(expected)


def test_every_node_hears_equally_many():
    edges = temporal_edges(torch.tensor([20]), torch.tensor([2]), torch.tensor([1]), False)
    assert torch.equal(torch.bincount(edges[1]), torch.full((20,), 4))


def test_every_clip_has_a_span_and_a_dilation_of_its_own():
    span, dilation = torch.tensor([1, 3, 2, 2, 4, 1]), torch.tensor([1, 1, 3, 2, 2, 1])
    edges = temporal_edges(COUNTS, span, dilation, False)
    parts = []
    for clip, count in enumerate(COUNTS.tolist()):
        alone = temporal_edges(torch.tensor([count]), span[clip : clip + 1], dilation[clip : clip + 1], False)
        parts.append(alone + FIRST[clip])
    assert pairs(edges) == pairs(torch.cat(parts, 1))


def test_spans_are_drawn_within_their_limits():
    torch.manual_seed(0)
    counts = torch.zeros(3000, dtype=torch.long)
    found = torch.bincount(drawn(4, counts, dynamic=True), minlength=6).tolist()
    assert found[0] == found[5] == 0
    assert min(found[1:5]) > 600
    assert drawn(4, counts[:3], dynamic=False).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("video", "audio", "span", "starts"),
    [
        (10, 20, 2, range(0, 20, 2)),
        (4, 4, 1, [0, 1, 2, 3]),
        (3, 8, 2, [0, 3, 6]),
        (1, 5, 2, [0]),
        (5, 2, 2, [0] * 5),
        (4, 1, 2, [0] * 4),
        (3, 0, 2, []),
        (0, 3, 2, []),
    ],
)
def test_static_edges_are_spread_evenly(video, audio, span, starts):
    edges = static_edges(torch.tensor([1, video]), torch.tensor([3, audio]), same(span, 2), shifted=False)
    first = [(0, target) for target in range(min(span, 3))]
    own = [(1 + node, 3 + target) for node, start in enumerate(starts) for target in range(start, start + span)]
    assert pairs(edges) == sorted([*first, *(pair for pair in own if pair[1] < 3 + audio)])


@pytest.mark.parametrize("shifted", [False, True])
def test_static_edges_stay_in_their_clip(shifted):
    torch.manual_seed(4)
    for _ in range(200):
        video, audio, span = (torch.randint(low, 6, (4,)) for low in (0, 0, 1))
        source, target = static_edges(video, audio, span, shifted)
        clips = [torch.arange(4).repeat_interleave(counts) for counts in (video, audio)]
        assert (clips[0][source] == clips[1][target]).all()
        heard = torch.bincount(source, minlength=len(clips[0]))
        assert (heard[audio[clips[0]] > 0] > 0).all()


def test_shifted_static_edges_move_forward_through_the_whole_clip():
    torch.manual_seed(0)
    hops = set()
    for _ in range(60):
        edges = static_edges(torch.tensor([10]), torch.tensor([25]), torch.tensor([2]), shifted=True)
        starts = [int(edges[1][edges[0] == node].min()) for node in range(10)]
        steps = np.diff(starts)
        assert starts[0] == 0
        assert starts[-1] >= 18
        assert (steps >= 0).all()
        assert np.ptp(steps[:6]) <= 1  # hop and a shift that grows in near equal parts, until the clip ends
        hops.add(tuple(starts))
    assert len(hops) > 5


def masks_of(counts, longest):
    return torch.arange(longest) >= torch.tensor(counts)[:, None]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_nearest_edges_equal_numpy(distance):
    torch.manual_seed(0)
    video_counts, audio_counts = [6, 0, 3, 1, 4], [9, 4, 2, 0, 1]
    video, audio = torch.randn(14, 16), torch.randn(16, 16)
    found = nearest_edges(
        video, audio, masks_of(video_counts, 6), masks_of(audio_counts, 10), neighbours=3, distance=distance
    )
    expected, node = [], 0
    for clip, count in enumerate(video_counts):
        first = sum(audio_counts[:clip])
        others = audio[first : first + audio_counts[clip]].double().numpy()
        for _ in range(count):
            own = video[node].double().numpy()
            if distance == "cosine":
                apart = 1 - others @ own / np.linalg.norm(others, axis=1) / np.linalg.norm(own)
            else:
                apart = np.linalg.norm(others - own, axis=1)
            expected += [(node, first + int(other)) for other in np.argsort(apart)[:3]]
            node += 1
    assert pairs(found) == sorted(expected)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_ties_go_to_the_earlier_node(distance):
    torch.manual_seed(0)
    silence = torch.randn(1, 64) + 1e-7 * torch.randn(8, 64)
    found = nearest_edges(torch.randn(3, 64), silence, masks_of([3], 3), masks_of([8], 8), 3, distance)
    assert pairs(found) == [(node, other) for node in range(3) for other in range(3)]
    zeros = nearest_edges(torch.zeros(2, 4), torch.zeros(5, 4), masks_of([2], 2), masks_of([5], 5), 3, distance)
    assert pairs(zeros) == [(node, other) for node in range(2) for other in range(3)]


def test_states_go_to_their_places_and_back():
    mask = masks_of([2, 0, 3], 4)
    x = torch.arange(1.0, 11).view(5, 2).requires_grad_()
    out = padded(x, mask)
    assert (out[mask] == 0).all()
    assert torch.equal(unpadded(out, mask), x)
    assert torch.equal(out[2, 1], x[3])
    out.square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())
    full = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(unpadded(padded(x.detach().new_ones(6, 2), full), full), torch.ones(6, 2))
    assert padded(x[:0], torch.ones(2, 3, dtype=torch.bool)).eq(0).all()


@pytest.mark.parametrize("nodes", [0, 1, 7])
def test_adjacency_has_a_row_a_target(nodes):
    torch.manual_seed(0)
    dense = torch.rand(nodes, nodes) < 0.4
    edges = dense.nonzero().T.flip(0)[:, torch.randperm(int(dense.sum()))]
    assert torch.equal(adjacency(edges, nodes, torch.float).to_dense(), dense.float())


def test_edges_are_dropped_with_their_probability():
    torch.manual_seed(0)
    edges = torch.stack([torch.arange(4000), torch.arange(4000) + 1])
    left = thinned(edges, 0.2)
    assert 3080 < left.size(1) < 3320
    assert (left[1] - left[0] == 1).all()
    assert torch.equal(thinned(edges, 0.0), edges)
