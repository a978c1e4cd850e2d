"""Nothing in a pickle is run; what is no plain data, damaged or too deep is refused with the place."""

import contextlib
import functools
import operator
import os
import pickle
import pickletools
import random
import struct
import subprocess

import numpy as np
import pandas as pd
import pytest

from mm_fairseq.corpora.pickles import read_pickle
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.pickles import Machine


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


GADGETS = {
    "os.system": Call(os.system, "touch owned"),
    "builtins.eval": Call(eval, "open('owned', 'w')"),
    "builtins.exec": Call(exec, "open('owned', 'w')"),
    "builtins.getattr": Call(getattr, "x", "__class__"),
    "builtins.open": Call(open, "owned", "w"),
    "functools.partial": Call(functools.partial, os.system, "touch owned"),
    "operator.attrgetter": Call(operator.attrgetter, "system"),
    "subprocess.Popen": Call(subprocess.Popen, "touch owned"),
    "numpy.load": Call(np.load, "owned", None, True),
    "numpy.fromfile": Call(np.fromfile, "owned"),
    "numpy.memmap": Call(np.memmap, "owned", "uint8", "w+", 0, (4,)),
    "pandas.read_pickle": Call(pd.read_pickle, "owned"),
    "pandas.io.common.get_handle": Call(pd.io.common.get_handle, "owned", "w"),
    "pandas.eval": Call(pd.eval, "1"),
}


def saved(tmp_path, value, protocol=4):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol) if not isinstance(value, bytes) else value)
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("gadget", GADGETS)
def test_gadgets_are_refused_by_name(tmp_path, monkeypatch, gadget, protocol):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"train": [1, GADGETS[gadget]]}, protocol)
    with pytest.raises(MMFairseqError, match=r"a\.pkl: byte \d+: refused: the pickle names .*nothing of it was run"):
        read_pickle(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x80\x04cos\nsystem\n.", r"refused: the pickle names os\.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"refused: the pickle names os\.system"),
        (b"\x80\x04K\x01K\x02\x93.", r"refused: the pickle names 1\.2"),
        (b"\x80\x02(cos\nsystem\no.", r"refused: the pickle names os\.system"),
        (b"\x80\x02(ios\nsystem\n.", "opcode b'i'"),
        (b"\x80\x02\x82\x01.", "opcode b'\\\\x82'"),  # the registry of copyreg
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "opcode b'Q'"),  # a persistent id
        (b"\x80\x05\x97.", "opcode b'\\\\x97'"),  # a buffer out of band
        (b"cos\nsystem\n(S'ls'\ntR.", "not a pickle of protocol 2 to 5"),
        (b"\x80\x09.", "not a pickle of protocol 2 to 5"),
        (b"no pickle", "not a pickle of protocol 2 to 5"),
        (b"\x80\x04.", "a damaged pickle"),
        (b"\x80\x04N", "cut short"),
        (b"\x80\x04h\x05.", "a damaged pickle"),
        (b"\x80\x04e.", "a damaged pickle"),
        (b"\x80\x04N(K\x01e.", "a damaged pickle"),
        (b"\x80\x04)R.", "a damaged pickle"),
        (b"\x80\x04K\x01)R.", "a damaged pickle"),
        (b"\x80\x04K\x01}b.", "a damaged pickle"),
        (b"\x80\x04](]K\x01K\x01u.", "a damaged pickle"),
        (b"\x80\x04\x8a\xff" + b"\x01" * 255 + b".", "a whole number of 255 bytes"),
        (b"\x80\x04cnumpy\nndarray\n.", "numpy.ndarray itself is no data"),
        (b"\x80\x04cnumpy\nndarray\n)R.", "numpy.ndarray stands where no data of numpy or pandas have it"),
        (b"\x80\x04c" + b"a" * 500, "cut short"),
    ],
)
def test_other_opcodes_and_nonsense(tmp_path, raw, reason):
    with pytest.raises(MMFairseqError, match=reason):
        read_pickle(saved(tmp_path, raw))


@pytest.mark.parametrize("code", [b"B", b"C", b"X", b"\x8c", b"\x8d", b"\x8e", b"\x96", b"T", b"U", b"\x8b"])
def test_declared_sizes_take_no_memory(tmp_path, code):
    raw = b"\x80\x04" + code + b"\xff\xff\xff\x7f\x00\x00\x00\x00"
    with pytest.raises(MMFairseqError, match=r"cut short|a whole number of"):
        read_pickle(saved(tmp_path, raw))


def test_a_huge_memo_takes_no_memory(tmp_path):
    assert read_pickle(saved(tmp_path, b"\x80\x04N" + b"r\xff\xff\xff\xff" + b".")) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x04" + b"]" * 5000 + b"a" * 4999 + b".",
        b"\x80\x04N" + b"\x85" * 100_000 + b".",
        b"\x80\x04}K\x00" * 300 + b"N" + b"s" * 300 + b".",
    ],
)
def test_deep_nesting_is_refused(tmp_path, raw):
    with pytest.raises(MMFairseqError, match=r"in each other|a damaged pickle"):
        read_pickle(saved(tmp_path, raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x04}N\x85\x85K\x01s.",
        b"\x80\x04}(N\x85\x85K\x01u.",
        b"\x80\x04\x8f(N\x85\x85\x90.",
        b"\x80\x04(N\x85\x85\x91.",
        b"\x80\x02c__builtin__\nset\n](N\x85\x85e\x85R.",
    ],
)
def test_tuples_in_keys_hold_no_tuples(tmp_path, raw):
    """To hash them recurses without a limit, and takes for ever where they are shared."""
    with pytest.raises(MMFairseqError, match="TypeError: tuple in a key"):
        read_pickle(saved(tmp_path, raw))


def test_flat_tuples_are_keys(tmp_path):
    value = {("a", 1, None): 1, b"b": 2, 1.5: 3, True: 4, (): 5}
    for protocol in (2, 4):
        assert read_pickle(saved(tmp_path, [value, {("a", b"b"), None}], protocol)) == [value, {("a", b"b"), None}]


def test_names_are_shown_short(tmp_path):
    """A name that is no text may be tuples shared 60 deep."""
    with pytest.raises(MMFairseqError, match=r"the pickle names tuple\.x,"):
        read_pickle(saved(tmp_path, b"\x80\x04)" + b"2\x86" * 60 + b"\x8c\x01x\x93."))


def test_references_are_not_copied(tmp_path):
    value = ("x",)
    for _ in range(60):  # 2^60 leaves, were each made anew
        value = (value, value)
    found = read_pickle(saved(tmp_path, value))
    assert found[0] is found[1]


def test_a_list_in_itself_is_refused(tmp_path):
    value = []
    value.append(value)
    with pytest.raises(MMFairseqError, match="in each other"):
        read_pickle(saved(tmp_path, value))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_back(tmp_path, protocol):
    value = {
        "none": None,
        "bools": [True, False],
        "numbers": [0, 255, 256, 65535, 65536, -1, 2**31, -(2**40), 1.5, float("inf")],
        "texts": ["", "행복", "x" * 300, "\ud800"],
        "bytes": [b"", b"abc", b"\x00" * 300],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        1: {"again": {"and": ["again"]}},
    }
    assert read_pickle(saved(tmp_path, value, protocol)) == value
    assert read_pickle(saved(tmp_path, pickletools.optimize(pickle.dumps(value, protocol)))) == value


def test_sets_come_back(tmp_path):
    assert read_pickle(saved(tmp_path, [{1, "a"}, frozenset({2})])) == [{1, "a"}, frozenset({2})]
    assert read_pickle(saved(tmp_path, {1, "a"}, 2)) == {1, "a"}


LISTS = {
    "small": list(range(-20, 20)),
    "all forms": [0, 255, 256, 65535, 65536, -1, -(2**31), 2**31 - 1] * 400,
    "samples": (np.random.default_rng(0).normal(size=70_000) * 3000).astype(int).tolist(),
    "floats": np.random.default_rng(0).normal(size=5000).tolist(),
    "mixed": [0, 0.5, -70000, 3] * 900,
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", LISTS)
def test_long_lists_of_numbers_are_arrays(tmp_path, name, protocol):
    numbers = LISTS[name]
    (found,) = read_pickle(saved(tmp_path, (numbers,), protocol))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == numbers
    if name == "samples":
        assert found.dtype == np.int16


def test_long_lists_in_large_files_are_not_too_long(tmp_path, monkeypatch):
    """Recordings stand there as lists of samples: 48,000 numbers a second."""
    monkeypatch.setattr("mm_fairseq.corpora.pickles.values.MAX_STEPS", 10)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(list(range(-9000, 9000)), 4))
    assert read_pickle(tmp_path / "a.pkl").tolist() == list(range(-9000, 9000))


def test_long_lists_of_more_than_numbers_are_lists(tmp_path):
    for odd in (None, "x", True, [1], 2**70):
        numbers = [*range(500), odd, *range(500)]
        assert read_pickle(saved(tmp_path, numbers)) == numbers
    numbers = tuple(range(500))  # no list: the numbers go to the stack
    assert read_pickle(saved(tmp_path, numbers)) == numbers


def test_every_cut_and_many_damages_are_errors_or_values(tmp_path):
    rng = random.Random(0)
    frame = pd.DataFrame({"a": [1, 2], "b": ["오늘", "x"], "c": [np.arange(3), list(range(40))]})
    whole = pickle.dumps({"frame": frame, "x": np.ones((2, 3))}, 4)
    for end in range(len(whole)):
        with pytest.raises(MMFairseqError):
            read_pickle(saved(tmp_path, whole[: end or 1]))
    for _ in range(3000):
        raw = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        with contextlib.suppress(MMFairseqError):
            read_pickle(saved(tmp_path, bytes(raw)))


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(MMFairseqError, match="no such file"):
        read_pickle(tmp_path / "b.pkl")
    (tmp_path / "b.pkl").touch()
    with pytest.raises(MMFairseqError, match="an empty file"):
        read_pickle(tmp_path / "b.pkl")


def test_only_the_admitted_names_are_asked_for():
    asked = []
    raw = b"\x80\x04cnumpy\ndtype\n0cnumpy\ndtype2\n."
    with pytest.raises(MMFairseqError):
        Machine(raw, "x", lambda *name: asked.append(name) or name[1] == "dtype").run()
    assert asked == [("numpy", "dtype"), ("numpy", "dtype2")]
    assert struct.calcsize("<Q") == 8
