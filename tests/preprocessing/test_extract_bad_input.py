"""What cannot be cached is named, and nothing half-written stays."""

import json
import shutil

import pytest
from databin_factory import write_data_bin
from extract_factory import make, settings

from mm_fairseq.backbones.mfcc import Mfcc
from mm_fairseq.databin import StreamReader, cached_streams
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing import extract
from mm_fairseq.preprocessing.extract import Share


def spoilt(monkeypatch, value, place=7):
    """One number of the features of the utterance that comes in this place is `value`."""
    original, calls = Mfcc.forward, []

    def forward(self, x, padding_mask):
        out = original(self, x, padding_mask)
        calls.append(x)
        if len(calls) == place:
            out.x[0, 1, 2] = value
        return out

    monkeypatch.setattr(Mfcc, "forward", forward)


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        (float("nan"), "float16", "features are not finite numbers$"),
        (float("inf"), "float32", "features are not finite numbers$"),
        (-1e5, "float16", "100000 is too large for float16; use --dtype float32$"),
        (-1e5, "float32", None),
    ],
)
def test_numbers_that_cannot_be_stored_are_named(own, monkeypatch, value, dtype, reason):
    spoilt(monkeypatch, value)
    if reason is None:
        make(own, {"audio": "mfcc"}, dtype=dtype)
        return
    with pytest.raises(MMFairseqError, match=r"audio backbone 'mfcc', utterance 'utt00[5-9]': " + reason):
        make(own, {"audio": "mfcc"}, dtype=dtype)
    (folder,) = own.glob("audio@*")
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"shard-00000.{kind}" for kind in ("bin", "idx", "json")),
        "stream.json",
    ]


def test_no_folder_stays_where_nothing_was_made(own, monkeypatch):
    spoilt(monkeypatch, float("nan"), place=1)
    with pytest.raises(MMFairseqError, match="not finite"):
        make(own, {"audio": "mfcc"})
    assert [str(path) for path in own.glob("*@*/*")] == []
    assert not list(own.glob("*@*"))


def flip(path, place, value=None):
    content = bytearray(path.read_bytes())
    content[place] = content[place] ^ 1 if value is None else value
    path.write_bytes(content)


def test_damaged_raw_items_are_named(own, specs):
    reader = StreamReader(own / "video")
    start = sum(reader[row].size for row in range(5, 7))
    flip(own / "video/shard-00001.bin", start + 16, 0)  # the marker in front of the first picture
    with pytest.raises(MMFairseqError, match=r"video/shard-00001\.bin: utterance 'utt007' is damaged: .*binarize"):
        make(own, {"video": specs["video"]})
    place = 4 * sum(len(StreamReader(own / "text")[row]) for row in range(3))
    flip(own / "text/shard-00000.bin", place + 2, 7)
    with pytest.raises(MMFairseqError, match=r"text/shard-00000\.bin: utterance 'utt003' .*: token ids are 0 to"):
        make(own, {"text": specs["text"]})
    flip(own / "audio/shard-00004.bin", 100)
    with pytest.raises(MMFairseqError, match=r"audio/shard-00004\.bin: not the bytes .*'utt020' to 'utt023'"):
        make(own, {"audio": specs["audio"]}, workers=2)
    assert cached_streams(own, "text") == []  # its first shard is the damaged one
    for name in ("audio", "video"):
        (stream,) = cached_streams(own, name)
        with pytest.raises(MMFairseqError, match="shards are missing"):
            stream.open(own, 24)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("sound=mfcc", "'sound=mfcc': expected MODALITY=BACKBONE, with audio, text, video"),
        ("mfcc", "'mfcc': expected MODALITY=BACKBONE"),
        ("audio=", "expected MODALITY=BACKBONE"),
        ("audio=nothing", "'nothing'"),
        ("audio=embedding", "'embedding' reads text, not audio"),
        ("text=embedding", "without a pretrained file it learns in training"),
        ("video=fabnet", "without a pretrained file it learns in training"),
        ("video=fabnet:/nowhere/fabnet.pt", "/nowhere/fabnet.pt: no such checkpoint file"),
    ],
)
def test_backbones_that_are_none(own, tree, option, reason):
    before = tree(own)
    with pytest.raises(MMFairseqError, match=reason):
        extract.extract(own, ["audio=mfcc", option], settings())
    assert tree(own) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dtype": "float64"}, "--dtype 'float64'; allowed: float16, float32"),
        ({"frames": {"text": 0}}, "--max-positions-t 0: allowed are 1 to"),
        ({"device": "tpu"}, "--device 'tpu'; allowed: auto, cpu, cuda and cuda:K"),
        ({"device": "cuda:x"}, "--device 'cuda:x'"),
        ({"device": "cuda:99"}, r"--device cuda:99: there are \d+ CUDA devices here"),
        ({"workers": 0}, "--workers 0: at least 1"),
    ],
)
def test_options_that_are_none(own, tree, change, reason):
    before = tree(own)
    with pytest.raises(MMFairseqError, match=reason):
        extract.extract(own, ["audio=mfcc"], settings(**change))
    assert tree(own) == before


def test_the_same_stream_twice(own):
    with pytest.raises(MMFairseqError, match="audio=mfcc and audio=mfcc: the same stream"):
        extract.extract(own, ["audio=mfcc", "audio=mfcc"], settings())


def test_data_bins_that_do_not_fit(own, data_bin, specs, tmp_path):
    with pytest.raises(MMFairseqError, match="not a data-bin"):
        make(tmp_path / "nowhere", specs)
    other = shutil.copytree(data_bin, tmp_path / "other words")
    with pytest.raises(MMFairseqError, match=r"knows \d+ symbols, the data-bin's dict.txt 16: binarize with"):
        make(other, {"text": specs["text"]})
    meta = json.loads((own / "meta.json").read_text())
    for change, reason in (
        ({"sample_rate": 8000}, "audio of 8000 Hz; backbones need 16000 Hz"),
        ({"streams": {"text": {}, "video": {}}}, "has no audio; it has text, video"),
        ({"complete": False}, "binarizing was not finished"),
    ):
        (own / "meta.json").write_text(json.dumps(meta | change))
        with pytest.raises(MMFairseqError, match=reason):
            make(own, specs)
    small = write_data_bin(tmp_path / "small frames", per_class=1, frame_size=64)
    with pytest.raises(MMFairseqError, match="fabnet needs frames of 256x256 pixels, found 64x64"):
        make(small, {"video": specs["video"]})


def test_shares():
    torchrun = {"WORLD_SIZE": "6", "RANK": "4", "LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": "1"}
    assert Share.of(None, None, {}) == Share(1, 0, 1, 0)
    assert Share.of(None, None, torchrun) == Share(6, 4, 3, 1)
    assert Share.of(2, 1, {}) == Share(2, 1, 1, 0)
    assert Share.of(2, 0, torchrun) == Share(2, 0, 3, 1)
    for count, rank in ((2, None), (None, 1)):
        with pytest.raises(MMFairseqError, match="both or neither"):
            Share.of(count, rank, {})
    for count, rank in ((2, 2), (2, -1), (0, 0)):
        with pytest.raises(MMFairseqError, match=f"--nshard {count} --rank {rank}"):
            Share.of(count, rank, {})
