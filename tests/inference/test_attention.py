"""Weights over time out of what was recorded, by hand."""

import pytest
import torch

from mm_fairseq.inference.attention import Axis, curves, shown
from mm_fairseq.models._base import Attends
from mm_fairseq.modules.recording import Recorded

ATTENDS = (
    Attends(r"cross\.(\w+)_from_(\w+)\.\d", r"\1", r"\2"),
    Attends(r"pool\.(\w+)", "", r"\1"),
    Attends(r"own\.(\w+)\.\d", r"\1", r"\1", first=True),
    Attends(r"latents", "", ""),
)
AXES = {
    "audio": Axis([None, (0.0, 0.5), (0.5, 1.0)], 1.0),
    "text": Axis([(0.0, 0.25), (0.25, 1.0)], 1.0),
}


def entry(path, rows, mask=None, **how):
    weights = torch.tensor(rows)[None]
    return Recorded(path, weights, torch.tensor([mask or [False] * len(rows)]), **how)


def test_the_mean_over_real_queries_is_brought_to_one_over_time():
    found = [
        entry("cross.text_from_audio.0", [[0.2, 0.2, 0.6], [0.4, 0.4, 0.2], [9.0, 9.0, 9.0]], [False, False, True])
    ]
    ((number, curve),) = curves(found, ATTENDS, AXES)
    assert (number, curve.modality, curve.asks, curve.kind, curve.layer) == (0, "audio", "text", "cross", 0)
    assert curve.weights == pytest.approx((3 / 7, 4 / 7), abs=1e-6)
    assert curve.share == pytest.approx(0.7)
    assert curve.frames == ((0.0, 0.5), (0.5, 1.0))


def test_of_own_attention_the_last_layer_is_read_at_its_first_position():
    rows = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    found = [entry("own.audio.0", rows), entry("own.audio.1", rows)]
    before, last = (curve for _, curve in curves(found, ATTENDS, AXES))
    assert (before.weights, last.weights) == ((0.5, 0.5), (1.0, 0.0))
    assert (before.layer, last.layer) == (0, 1)


def test_what_is_missing_neither_asks_nor_is_asked():
    found = [
        entry("cross.video_from_audio.0", [[0.0, 0.5, 0.5]]),
        entry("cross.text_from_video.0", [[1.0]]),
        entry("own.text.0", [[0.5, 0.5]]),
        entry("elsewhere", [[1.0]]),
    ]
    assert [curve.path for _, curve in curves(found, ATTENDS, AXES)] == ["own.text.0"]


def test_latents_keep_their_share_and_have_a_rate():
    found = [entry("latents", [[0.1, 0.1, 0.1, 0.0]], modality="audio", rate=4.0)]
    ((_, curve),) = curves(found, ATTENDS, {"audio": Axis([], 0.7)})
    assert curve.frames == ((0.0, 0.25), (0.25, 0.5), (0.5, 0.7))
    assert (curve.kind, curve.share) == ("latents", pytest.approx(0.3))
    assert curve.weights == pytest.approx((1 / 3,) * 3, abs=1e-6)


def test_nodes_that_hear_nothing_take_no_weight():
    found = [entry("cross.text_from_audio.0", [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5]])]
    ((_, curve),) = curves(found, ATTENDS, AXES)
    assert curve.weights == (0.5, 0.5)
    assert curve.share == 1.0


def test_shown_is_the_mean_of_the_last_layers_of_who_comes_first():
    axes = AXES | {"video": Axis([(0.0, 1.0)], 1.0)}
    found = [
        entry("own.audio.0", [[0.0, 1.0, 0.0]]),
        entry("cross.text_from_audio.0", [[0.0, 0.5, 0.5]]),
        entry("cross.text_from_audio.1", [[0.0, 0.9, 0.1]]),
        entry("cross.video_from_audio.0", [[0.0, 0.3, 0.7]]),
        entry("pool.audio", [[0.0, 0.0, 1.0]]),
        entry("pool.text", [[0.25, 0.75]]),
    ]
    own = curves(found, ATTENDS, axes)
    assert len(own) == 6
    audio = shown(own, "audio")
    assert (audio.kind, audio.asks) == ("cross", ("text", "video"))
    assert audio.paths == ("cross.text_from_audio.1", "cross.video_from_audio.0")
    assert audio.weights == pytest.approx((0.6, 0.4), abs=1e-6)
    text = shown(own, "text")
    assert (text.kind, text.asks, text.weights) == ("pooling", (), (0.25, 0.75))
    assert shown(own, "video") is None


def test_attention_that_lies_on_no_time_at_all_is_none():
    assert curves([entry("own.audio.0", [[1.0, 0.0, 0.0]])], ATTENDS, AXES) == []
