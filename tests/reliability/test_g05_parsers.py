"""G5: whatever bytes stand in an index, a receipt or another small file, they give a result or the declared error.

In less than 100 ms and in memory that the size of the file bounds. Bytes are arbitrary ones, changes of real files, and
such with a right CRC, which forgery or a faulty writer could have made.
"""

import contextlib
import hashlib
import json
import shutil
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from databin_factory import reshard, write_data_bin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm_fairseq.databin import CachedStream, DataBin, FileArray, StreamReader, complete, joined, sums, unpack_frames
from mm_fairseq.databin.features import cached_stream
from mm_fairseq.databin.format import Index, parse_receipt, receipt_bytes
from mm_fairseq.databin.lookup import read_lookup
from mm_fairseq.databin.verify import verify
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest
from mm_fairseq.targets import read_targets

SECONDS = 0.1
MEMORY = 1 << 20  # bytes, and 64 for each of the file
QUICK, FULL = 40, 3000
STREAM = CachedStream("audio", "mfcc", {"n_mfcc": 8}, {}, 100, (), "float16", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data_bin = write_data_bin(tmp_path_factory.mktemp("data") / "data-bin", 2, frame_size=8, every_kind=True)
    reshard(data_bin, 5)
    complete(data_bin, json.loads((data_bin / "meta.json").read_bytes()))
    STREAM.write(data_bin)
    return data_bin


def put(name):
    """Reads a file of the data-bin after other bytes were put into it."""

    def decorate(read):
        def call(folder, raw):
            before = (folder / name).read_bytes()
            try:
                (folder / name).write_bytes(raw)
                return timed(lambda: read(folder), len(raw))
            finally:
                (folder / name).write_bytes(before)

        return name, call

    return decorate


def timed(call, size):
    """What a call gives, or None where it raises the declared error; within the limits."""
    best = float("inf")
    for _ in range(4):  # in processor time, and again: others on the machine slow this one down
        begun, found = time.process_time(), None
        with contextlib.suppress(MMFairseqError):
            found = call()
        best = min(best, time.process_time() - begun)
        if best < SECONDS:
            break
    assert best < SECONDS
    tracemalloc.start()
    try:
        with contextlib.suppress(MMFairseqError):
            call()
        assert tracemalloc.get_traced_memory()[1] < MEMORY + 64 * size
    finally:
        tracemalloc.stop()
    return found


def plain(name, parse):
    return name, lambda folder, raw: timed(lambda: parse(raw), len(raw))


def items(folder):
    """Every item of the stream of sound."""
    reader = StreamReader(folder / "audio")
    return [len(item) for item in reader], reader.lengths


def frames(raw):
    return unpack_frames(np.frombuffer(raw, np.uint8))


PARSERS = {
    "index": plain("video/shard-00000.idx", lambda raw: Index.from_bytes(raw, "x.idx")),
    "receipt": plain("audio/shard-00000.json", lambda raw: parse_receipt(raw, "x.json")),
    "sums": plain("audio/SHA256SUMS", sums.parse),
    "frames": plain("video/shard-00000.bin", frames),
    "joined": put("video/joined.idx")(lambda folder: joined.read(folder / "video")),
    "stream": put("audio/joined.idx")(items),
    "index in its place": put("audio/shard-00000.idx")(lambda folder: StreamReader(folder / "audio", anew=True)),
    "receipt in its place": put("audio/shard-00000.json")(lambda folder: StreamReader(folder / "audio", anew=True)),
    "list in its place": put("SHA256SUMS")(lambda folder: DataBin(folder).meta),
    "array": put("rows.npy")(lambda folder: FileArray.npy(folder / "rows.npy")[:]),
    "array of votes": put("labels/emotion.votes.npy")(
        lambda folder: FileArray.npy(folder / "labels/emotion.votes.npy")
    ),
    "lookup": put("lookup.json")(read_lookup),
    "meta": put("meta.json")(lambda folder: DataBin(folder).meta),
    "description": put(f"{STREAM.name}/stream.json")(
        lambda folder: cached_stream(folder / STREAM.name / "stream.json")
    ),
    "targets": put("targets.json")(lambda folder: read_targets(folder / "targets.json")),
    "manifest": put("manifest.tsv")(lambda folder: Manifest.read(folder / "manifest.tsv")),
}


@st.composite
def changes(draw, raw):
    """A real file with a few places changed, cut, doubled or exchanged; numbers become extreme ones."""
    raw = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        if not raw:
            break
        place, size = draw(st.integers(0, len(raw) - 1)), draw(st.integers(0, 16))
        new = draw(
            st.one_of(
                st.binary(max_size=16),
                st.sampled_from([-1, 0, 1, 2**31, 2**62, 2**63 - 1, -(2**63)]).map(lambda n: struct.pack("<q", n)),
                st.sampled_from([b"[" * 3000, b"9" * 5000, b"null", b"-1", b"1e999", b"\xff\xfe", b"\n", b"\t", b"{}"]),
                st.just(bytes(raw[place : place + size])),
            )
        )
        if draw(st.booleans()):
            raw[place // 8 * 8 : place // 8 * 8 + 8] = new
        else:
            raw[place : place + size] = new
    return bytes(raw)


def with_crc(name, raw):
    """With the CRC of its own bytes, where the file has one."""
    if name.endswith(".idx") and len(raw) >= 52:
        at = struct.calcsize("<8sIIqqqII") - 4
        return raw[:at] + struct.pack("<I", zlib.crc32(raw[at + 4 :], zlib.crc32(raw[:at]))) + raw[at + 4 :]
    if name.endswith(".json") and b', "crc32": ' in raw:
        body = raw.rpartition(b', "crc32": ')[0] + b"}"
        return body[:-1] + f', "crc32": {zlib.crc32(body)}}}\n'.encode()
    if name.endswith(sums.NAME):
        lines = raw.rpartition(b"# sha256 of")[0]
        return lines + f"# sha256 of the lines above: {hashlib.sha256(lines).hexdigest()}\n".encode()
    return raw


def examine(folder, parser, count):
    name, call = PARSERS[parser]
    real = (folder / name).read_bytes()
    assert parser == "frames" or call(folder, real) is not None

    @settings(
        max_examples=count, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(st.binary(max_size=300), changes(real), changes(real).map(lambda raw: with_crc(name, raw))))
    def run(raw):
        call(folder, raw)

    run()


@pytest.mark.parametrize("parser", PARSERS)
def test_any_bytes(folder, parser):
    examine(folder, parser, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("parser", PARSERS)
def test_many_more_bytes(folder, parser):
    examine(folder, parser, FULL)


JSON = ["[" * 100_000, "9" * 100_000, '{"a":' * 50_000, "1e999", '"\\ud800"', "\ufeff{}", "NaN", '{"complete": 1}']
NAMES = [name for name, _ in PARSERS.values() if name.endswith(".json")]


@pytest.mark.parametrize("name", sorted(set(NAMES)))
@pytest.mark.parametrize("text", JSON, ids=lambda text: text[:8])
def test_json_that_goes_deep_or_far(folder, name, text):
    for place, call in PARSERS.values():
        if place == name:
            call(folder, text.encode("utf-8", "surrogatepass"))


def test_offsets_whose_differences_wrap():
    """Two of 64 bits may differ by what no 64 bits hold: the difference looks small."""
    offsets = np.array([0, 2**62, 2**63 - 1, -(2**63), -1, 5], np.int64)
    assert (np.diff(offsets[2:4]) > 0).all()
    good = Index(np.dtype("int16"), 0, np.array([0, 1, 2, 3, 4, 5], np.int64)).to_bytes()
    raw = with_crc("x.idx", good[:-48] + offsets.astype("<i8").tobytes())
    with pytest.raises(MMFairseqError, match="make no sense"):
        Index.from_bytes(raw, "x.idx")


@pytest.mark.parametrize("field", range(3))
@pytest.mark.parametrize("value", [-1, 2**40, -(2**40), 2**63 - 1])
def test_counts_that_no_file_holds(folder, field, value):
    """Nothing is reserved for what a header claims."""
    for name in ("video/shard-00000.idx", "video/joined.idx"):
        raw = bytearray((folder / name).read_bytes())
        struct.pack_into("<q", raw, 16 + 8 * field, value)
        for parser in ("index", "joined"):
            if PARSERS[parser][0] == name and (parser, field) != ("joined", 0):  # dim: any width is one
                assert PARSERS[parser][1](folder, with_crc(name, bytes(raw))) is None


def test_arrays_of_objects_and_giants(folder):
    call = PARSERS["array"][1]
    for head in (
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (999999999999999,), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (" + "(" * 900,
    ):
        line = head.ljust(117).encode() + b"\n"
        assert call(folder, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + bytes(8)) is None


def test_receipts_are_read_again():
    told = {"count": 1, "dtype": "int16", "dim": 0, "bytes": 2, "sha256": {"bin": "a" * 64, "idx": "b" * 64}}
    receipt = told | {"notes": {"problems": [{"error": 'Ünï "quoted", "crc32": 7}'}]}}
    assert parse_receipt(receipt_bytes(receipt), "x") == receipt
    raw = receipt_bytes(receipt)
    for place in range(len(raw)):
        for damaged in (raw[:place], raw[:place] + bytes([raw[place] ^ 32]) + raw[place + 1 :]):
            with pytest.raises(MMFairseqError, match=r"^x: "):
                parse_receipt(damaged, "x")


@pytest.mark.parametrize("names", [["a"], ["a\nb", "c\\d", "e\rf"], ["Ünï code", "\udcff", "# 1 bytes"]])
def test_lists_are_read_again(tmp_path, names):
    entries = {name: sums.Sum(number, f"{number:064x}") for number, name in enumerate(names)}
    sums.write(tmp_path, entries)
    assert sums.read(tmp_path) == entries


def test_verify_takes_any_bytes(folder, tmp_path):
    """All faults of a data-bin of which every file was changed at once."""
    own = shutil.copytree(folder, tmp_path / "own")
    rng = np.random.default_rng(0)
    paths = [path for path in sorted(own.rglob("*")) if path.is_file() and path.stat().st_size]
    for path in paths:
        raw = bytearray(path.read_bytes())
        for place in rng.integers(0, len(raw), 3):
            raw[place] = rng.integers(256)
        path.write_bytes(raw)
    assert verify(own).faults


def test_a_forged_list_leads_nowhere(tmp_path):
    names = ["/etc/passwd", "../x", "a/../../x", "[" * 3000]
    sums.write(tmp_path, {name: sums.Sum(2**40, "0" * 64) for name in names})
    assert sums.read(tmp_path) == {"[" * 3000: (2**40, "0" * 64)}
    with pytest.raises(MMFairseqError, match="File name too long"):
        sums.check_sizes(tmp_path)
