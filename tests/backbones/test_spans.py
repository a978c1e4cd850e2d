"""Where in the input the output frames of every backbone lie."""

import numpy as np
import pytest
import torch
from small_backbones import ARGS, entry, items, modality_of

from mm_fairseq.backbones import build
from mm_fairseq.datasets.collate import pad
from mm_fairseq.datasets.raw_items import EMPTY

LENGTHS = {"audio": 4321, "text": 9, "video": 7, "any": 6}
LOCAL = {"embedding", "fabnet", "features", "logmel", "mfcc", "pixels", "r3d_18", "wav2vec2_segments", "waveform"}


def encoded(name, item):
    modality = modality_of(name)
    x, mask = pad([item], 0, EMPTY.get(modality, np.zeros((0, 5), np.float32)))
    torch.manual_seed(0)
    encoder = build(entry(name)).eval()
    with torch.no_grad():
        return encoder, encoder(x, mask)


def item_of(name):
    modality = modality_of(name)
    return items(modality, [LENGTHS[modality]])[0]


@pytest.mark.parametrize("name", sorted(ARGS))
def test_every_frame_has_its_place_in_the_input(name):
    if name == "egemaps":
        pytest.importorskip("opensmile")
    item = item_of(name)
    encoder, out = encoded(name, item)
    spans = encoder.spans(int((~out.padding_mask).sum()), len(item))
    assert len(spans) == int((~out.padding_mask).sum())
    ends = [0, -1] if name == "vq_bert" else []
    assert [number for number, span in enumerate(spans) if span is None] == sorted(
        number % len(spans) for number in ends
    )
    places = [span for span in spans if span is not None]
    assert places == sorted(places)
    assert all(0 <= start < end <= len(item) for start, end in places)
    assert places[0][0] == 0
    reach = max(encoder.stride, encoder.receptive_field, getattr(encoder, "window", 1))
    assert len(item) - places[-1][1] < reach + encoder.stride


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_a_frame_is_made_of_its_span_alone(name):
    if name == "r3d_18":
        pytest.importorskip("torchvision")
    item = item_of(name)
    encoder, before = encoded(name, item)
    spans = encoder.spans(before.x.size(1), len(item))
    number = len(spans) // 2
    start, end = spans[number]
    for outside in (True, False):
        changed = item.copy()
        part = np.ones(len(item), bool)
        part[start:end] = False
        changed[part if outside else ~part] = (
            changed[part if outside else ~part][::-1] // 2 if item.dtype.kind in "iu" else -0.7
        )
        after = encoded(name, changed)[1]
        same = torch.allclose(after.x[0, number], before.x[0, number], atol=1e-5)
        assert same == outside
