"""Arrays come back as they were saved; damaged, foreign and huge files are refused with a reason."""

import zipfile

import numpy as np
import pytest

from mm_fairseq.media import MediaError
from mm_fairseq.media.features import feature_shapes, read_features


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "a.npz",
        audio=rng.normal(size=(7, 4)),
        text=rng.normal(size=(3, 2)).astype(np.float16),
        video=np.arange(10, dtype=np.int8).reshape(2, 5),
        other=np.zeros(3),
    )
    return tmp_path / "a.npz"


def test_arrays_come_back_as_float32(path):
    saved = np.load(path, allow_pickle=False)
    for name in ("audio", "text", "video"):
        found = read_features(path, name)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert np.array_equal(found, saved[name].astype(np.float32))
    assert feature_shapes(path) == {"audio": (7, 4), "text": (3, 2), "video": (2, 5)}


def test_compressed_and_fortran_ordered_ones_too(tmp_path):
    x = np.asfortranarray(np.random.default_rng(1).normal(size=(6, 3)))
    np.savez_compressed(tmp_path / "a.npz", audio=x)
    assert np.array_equal(read_features(tmp_path / "a.npz", "audio"), x.astype(np.float32))


def test_an_array_that_is_not_there(path, tmp_path):
    np.savez(tmp_path / "b.npz", text=np.zeros((1, 1)))
    with pytest.raises(MediaError, match=r"b\.npz: no array 'audio' in it; it has text") as error:
        read_features(tmp_path / "b.npz", "audio")
    assert error.value.code == "empty_audio"
    assert feature_shapes(tmp_path / "b.npz") == {"text": (1, 1)}


@pytest.mark.parametrize(
    ("value", "told"),
    [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e300, r"1e\+300")],
)
def test_numbers_that_are_not_finite_are_placed(tmp_path, value, told):
    x = np.zeros((4, 3))
    x[2, 1] = value
    np.savez(tmp_path / "a.npz", audio=x)
    with pytest.raises(MediaError, match=rf"audio: {told} in frame 2, column 1") as error:
        read_features(tmp_path / "a.npz", "audio")
    assert error.value.code == "non_finite"


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(5), r"shape \(5,\); expected numbers of shape \(T, D\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((4, 0)), r"shape \(4, 0\)"),
        (np.array([["a", "b"]]), "no numbers"),
        (np.zeros((2, 2), complex), "no numbers"),
        (np.array([[{}]], dtype=object), "no numbers"),
        (np.zeros((2, 2), [("a", "f4")]), "no numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, reason):
    np.savez(tmp_path / "a.npz", audio=array)
    for read in (lambda path: read_features(path, "audio"), feature_shapes):
        with pytest.raises(MediaError, match=reason):
            read(tmp_path / "a.npz")


def forged(path, header, body=b""):
    text = header.encode().ljust(118) + b"\n"
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("audio.npy", head + body)
    return path


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000)}", "too_large"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000)}", "truncated"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}", "unreadable"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1, 4)}", "unreadable"),
        ("__import__('os').system('touch owned')", "unreadable"),
        ("{" * 100, "unreadable"),
    ],
)
def test_forged_heads_take_no_memory(tmp_path, monkeypatch, header, code):
    monkeypatch.chdir(tmp_path)
    path = forged(tmp_path / "a.npz", header, b"\0" * 16)
    for read in (lambda path: read_features(path, "audio"), feature_shapes):
        with pytest.raises(MediaError) as error:
            read(path)
        assert error.value.code == code
    assert not (tmp_path / "owned").exists()


def test_damaged_files_are_a_media_error(path, tmp_path):
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for trial in range(300):
        raw = bytearray(whole)
        if trial % 2:
            del raw[int(rng.integers(len(raw))) :]
        else:
            raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.npz").write_bytes(raw)
        try:
            assert read_features(tmp_path / "b.npz", "audio").shape[1]
            feature_shapes(tmp_path / "b.npz")
        except MediaError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"version https://git-lfs.github.com/spec/v1\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(MediaError):
        read_features(tmp_path / "a.npz", "audio")
    with pytest.raises(MediaError, match="no such file"):
        feature_shapes(tmp_path / "b.npz")
