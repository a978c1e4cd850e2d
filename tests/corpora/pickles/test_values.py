"""Arrays and frames come back as numpy and pandas would give them, of whatever version."""

import pickle
import pickletools

import numpy as np
import pandas as pd
import pytest

from mm_fairseq.corpora.pickles import Frame, read_pickle
from mm_fairseq.errors import MMFairseqError

ARRAYS = {
    "floats": np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(5, dtype=">i4"),
    "strided": np.arange(20)[::3],
    "texts": np.array([["a", "행복"], ["", "xyz"]]),
    "bytes": np.array([b"ab", b""]),
    "bools": np.array([True, False]),
    "none": np.zeros((0, 4), np.float16),
    "scalar": np.array(3.5),
}


def saved(tmp_path, value, protocol=4):
    path = tmp_path / "a.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(tmp_path, name, protocol):
    found = read_pickle(saved(tmp_path, {"x": ARRAYS[name]}, protocol))["x"]
    assert found.dtype == ARRAYS[name].dtype
    assert found.shape == ARRAYS[name].shape
    assert np.array_equal(found, ARRAYS[name])


def test_an_array_in_two_places_is_one(tmp_path):
    x = np.ones(3)
    first, second = read_pickle(saved(tmp_path, [x, x]))
    assert first is second


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_object_arrays_and_scalars(tmp_path, protocol):
    x = np.empty((2, 2), object)
    x[0, 0], x[0, 1], x[1, 0], x[1, 1] = "a", np.arange(3), [1, 2], None
    found = read_pickle(saved(tmp_path, {"x": x, "y": np.float32(2.5), "z": np.int64(-3)}, protocol))
    assert found["x"].shape == (2, 2)
    assert found["x"][0, 0] == "a"
    assert found["x"][0, 1].tolist() == [0, 1, 2]
    assert found["x"][1].tolist() == [[1, 2], None]
    assert (found["y"], found["z"]) == (2.5, -3)


@pytest.mark.parametrize(
    "dtype", [np.dtype("datetime64[s]"), np.dtype([("a", "i4")]), np.dtype("timedelta64[s]"), np.dtype("V4")]
)
def test_other_types_are_refused(tmp_path, dtype):
    with pytest.raises(MMFairseqError, match="only numbers, texts and objects are read"):
        read_pickle(saved(tmp_path, np.zeros(2, dtype)))


def frame():
    audio = [np.array([1, -2], np.int16), list(range(-300, 300)), np.array([0.5, 1.0])]
    table = pd.DataFrame(
        {"person_ix": [4, 5, 6], "audio": audio, "Sentence": ["오늘 입고", "b", None], "x": [1.5, 2, 3]}
    )
    table["kind"] = ["행복", "분노", "행복"]
    table["kind"] = table["kind"].astype("category")
    table["object"] = np.array(["a", None, 3], object)
    table["python"] = pd.array(["a", None, "행복"], dtype=pd.StringDtype("python"))
    return table


def check(found, table):
    assert isinstance(found, Frame)
    assert list(found.columns) == [str(name) for name in table]
    assert len(found) == len(table)
    for name, column in found.columns.items():
        for ours, theirs in zip(column, table[name], strict=True):
            if isinstance(theirs, np.ndarray | list):
                assert np.array_equal(ours, theirs)
            else:
                assert ours is None if pd.isna(theirs) else ours == theirs


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_frames(tmp_path, protocol):
    table = frame()
    for each in (table, table[table.person_ix != 5], table.sort_values("x", ascending=False), table[["x"]]):
        each.to_pickle(tmp_path / "a.pkl", protocol=protocol)
        check(read_pickle(tmp_path / "a.pkl"), each)


def test_frames_put_together(tmp_path):
    both = pd.concat([frame(), frame()])
    both.to_pickle(tmp_path / "a.pkl")
    check(read_pickle(tmp_path / "a.pkl"), both)


class Name:
    """A global of a version of pandas or numpy that is not installed."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class New:
    """A call of a global, or a new object of a class, with a state."""

    def __init__(self, name, args, state=None, call=True):
        self.name, self.args, self.state, self.call = name, args, state, call


def assembled(value):
    """A pickle of protocol 2 with `Name` and `New` in it, as older versions wrote it."""
    if isinstance(value, Name):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, New):
        state = b"" if value.state is None else assembled(value.state) + b"b"
        return assembled(value.name) + assembled(tuple(value.args)) + (b"R" if value.call else b"\x81") + state
    if isinstance(value, tuple):
        return b"(" + b"".join(map(assembled, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(assembled, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(assembled(part) for item in value.items() for part in item) + b"u"
    return pickletools.optimize(pickle.dumps(value, 2))[2:-1]  # without the head and the end


def pickled(value):
    return b"\x80\x04" + assembled(value) + b"."


def array(items):
    """An object array as numpy 1 pickles it."""
    reconstruct, ndarray = Name("numpy.core.multiarray", "_reconstruct"), Name("numpy", "ndarray")
    dtype = New(Name("numpy", "dtype"), ["O8", 0, 1], (3, "|", None, None, None, -1, -1, 63))
    shape = (len(items), len(items[0])) if isinstance(items[0], list) else (len(items),)
    flat = [item for row in items for item in row] if len(shape) == 2 else items
    return New(reconstruct, [ndarray, (0,), b"b"], (1, shape, dtype, False, flat))


def index(names, module="pandas.core.indexes.base"):
    return New(Name(module, "_new_Index"), [Name(module, "Index"), {"data": array(names), "name": None}])


def rows(count):
    made = {"name": None, "start": 0, "stop": count, "step": 1}
    return New(Name("pandas.core.indexes.base", "_new_Index"), [Name("pandas.core.indexes.range", "RangeIndex"), made])


def old_frame(manager_module, key, slices=True):
    places = [
        New(Name("builtins", "slice"), [place, 4, 2]) if slices else np.array([place, place + 2]) for place in (0, 1)
    ]
    blocks = [
        {"values": array([["a", "b", "c"], ["d", "e", "f"]]), "mgr_locs": places[1]},
        {"values": np.arange(6).reshape(2, 3), "mgr_locs": places[0]},
    ]
    axes = [index(["n", "s", "m", "t"]), rows(3)]
    state = (axes, [block["values"] for block in blocks], axes, {"0.14.1": {"axes": axes, "blocks": blocks}})
    manager = New(Name(manager_module, "BlockManager"), [], state, call=False)
    return New(
        Name("pandas.core.frame", "DataFrame"), [], {key: manager, "_typ": "dataframe", "_metadata": []}, call=False
    )


@pytest.mark.parametrize(
    ("module", "key", "slices"),
    [
        ("pandas.core.internals", "_data", True),  # 0.2x
        ("pandas.core.internals.managers", "_data", True),  # 0.25, 1.0
        ("pandas.core.internals.managers", "_mgr", False),  # 1.1, 1.2
    ],
)
def test_frames_of_older_pandas(tmp_path, module, key, slices):
    found = read_pickle(saved(tmp_path, pickled(old_frame(module, key, slices))))
    assert {name: list(column) for name, column in found.columns.items()} == {
        "n": [0, 1, 2],
        "s": ["a", "b", "c"],
        "m": [3, 4, 5],
        "t": ["d", "e", "f"],
    }


def test_frames_that_do_not_fit_together(tmp_path):
    broken = old_frame("pandas.core.internals", "_data")
    broken.state["_data"].state[3]["0.14.1"]["axes"][1] = rows(5)
    with pytest.raises(
        MMFairseqError,
        match=r"a pandas frame of 5 rows and the columns .*, whose blocks hold others",
    ):
        read_pickle(saved(tmp_path, pickled(broken)))
    other = New(Name("pandas.core.frame", "DataFrame"), [], {"_typ": "dataframe"}, call=False)
    with pytest.raises(MMFairseqError, match="a form that is not known"):
        read_pickle(saved(tmp_path, pickled(other)))


@pytest.mark.parametrize(
    ("shape", "raw"),
    [((2,), b"\0" * 15), ((10**12,), b""), ((-1,), b""), ((2, 2), b"\0" * 16), ((0, 10**18), b"\0")],
)
def test_arrays_that_do_not_fit_together(tmp_path, shape, raw):
    dtype = New(Name("numpy", "dtype"), ["f8", False, True], (3, "<", None, None, None, -1, -1, 0))
    made = New(Name("numpy._core.numeric", "_frombuffer"), [raw, dtype, shape, "C"])
    with pytest.raises(MMFairseqError, match=r"an array of shape|do not fit together"):
        read_pickle(saved(tmp_path, pickled(made)))


def test_text_of_python_2(tmp_path):
    """Arrays that Python 2 wrote have their bytes in opcodes of its `str`."""
    dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    raw = np.array([1.5, -2.0]).tobytes()
    made = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        + dtype
        + b"\x89U\x10"
        + raw
        + b"tb."
    )
    assert read_pickle(saved(tmp_path, made)).tolist() == [1.5, -2.0]
    assert pickle.loads(made, encoding="latin1").tolist() == [1.5, -2.0]


MANY = 10**6  # values that a file of 300 bytes asks for


def numpy_array(text, shape, raw):
    dtype = New(Name("numpy", "dtype"), [text, False, True], (3, "<", None, None, None, -1, -1, 0))
    return New(Name("numpy._core.numeric", "_frombuffer"), [raw, dtype, shape, "C"])


def arrow(count, ends, letters, offset=0, valid=None):
    buffers = [valid, np.array(ends, "<i4").tobytes(), letters]
    return New(Name("pyarrow.lib", "_restore_array"), [("string", count, 0, offset, buffers)])


def wide_frame():
    made = old_frame("pandas.core.internals", "_data")
    made.state["_data"].state[3]["0.14.1"] = {"axes": [rows(MANY), rows(3)], "blocks": []}
    return made


def same_chunk(chunk, times):
    """A chunked array of one chunk over and over."""
    head = b"\x80\x04" + assembled(chunk) + b"q\x000"
    return head + b"cpyarrow.lib\nchunked_array\n](" + b"h\x00" * times + b"e\x85R."


def test_arrow_texts(tmp_path):
    made = arrow(2, [0, 1, 1, 4], b"abcd", offset=1, valid=b"\x04")
    assert read_pickle(saved(tmp_path, pickled(made))) == [None, "bcd"]
    assert read_pickle(saved(tmp_path, same_chunk(made, 3))) == [None, "bcd"] * 3


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (New(Name("builtins", "bytes"), [MANY]), "int stands where bytes should"),
        (New(Name("builtins", "bytearray"), [MANY]), "int stands where bytes should"),
        (New(Name("pyarrow.lib", "py_buffer"), [MANY]), "int stands where bytes should"),
        (New(Name("builtins", "set"), [rows(MANY)]), "again and again, or numbers of values that are not there"),
        (wide_frame(), "again and again, or numbers of values that are not there"),
        (numpy_array("S0", (MANY,), b""), r"an array of shape \(1000000,\) and type \|?S0 with 0 bytes"),
        (numpy_array("U0", (MANY,), b""), r"an array of shape \(1000000,\) and type .U0 with 0 bytes"),
        (numpy_array("f8", (1,) * 65, b"\0" * 8), "an array whose shape is none"),
        (numpy_array("x" * 999, (1,), b""), "an array of type 'x{40}'; .* leave the column out, or save as Parquet"),
        (arrow(MANY, [0, 0], b""), "an Arrow array of more texts than places"),
        (arrow(2, [0, 1], b"a", offset=-1), "an Arrow array of more texts than places"),
        (arrow(2, [0, 2, 1], b"abc"), "an Arrow array of texts whose places are not one behind the other"),
        (arrow(1, [0, 4], b"abc"), "an Arrow array of texts whose places are not one behind the other"),
        (arrow(1, [-1, 1], b"abc"), "an Arrow array of texts whose places are not one behind the other"),
        (New(Name("pandas", "Categorical"), [], {}, call=False), "pandas.Categorical without values"),
    ],
)
def test_numbers_of_values_that_are_not_there(tmp_path, made, reason):
    with pytest.raises(MMFairseqError, match=rf"a\.pkl: .*{reason}"):
        read_pickle(saved(tmp_path, pickled(made)))


def test_an_object_array_takes_no_memory_before_its_elements_are_counted(tmp_path):
    made = array(["a"])
    made.state = (1, (10**15,), *made.state[2:])  # more than any machine has
    with pytest.raises(MMFairseqError, match=r"an array of shape \(1000000000000000,\) with 1 elements"):
        read_pickle(saved(tmp_path, pickled(made)))


def encoded(times):
    """The same text to bytes over and over."""
    text = b"X\xe8\x03\x00\x00" + b"x" * 1000 + b"q\x000"
    return b"\x80\x02" + text + b"](" + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * times + b"e."


@pytest.mark.parametrize("raw", [same_chunk(arrow(1000, [0] * 1001, b""), 1000), encoded(1000)])
def test_the_same_bytes_again_and_again(tmp_path, raw):
    with pytest.raises(MMFairseqError, match="the same bytes again and again"):
        read_pickle(saved(tmp_path, raw))


def test_bytes_in_many_places_are_one(tmp_path):
    first, *others = read_pickle(saved(tmp_path, [b"x" * 5000] * 50))
    assert all(each is first for each in others)


def test_small_values_in_large_numbers_are_honest(tmp_path):
    many = 100_000
    table = pd.DataFrame({"texts": ["a"] * many, "none": np.array([None] * many, object), "flag": [True] * many})
    table["kind"] = pd.Categorical([0, 1] * (many // 2))
    table["python"] = pd.array(["b"] * many, dtype=pd.StringDtype("python"))
    for protocol in (2, 5):
        table.to_pickle(tmp_path / "a.pkl", protocol=protocol)
        found = read_pickle(tmp_path / "a.pkl")
        assert [list(column[-2:]) for column in found.columns.values()] == [
            ["a", "a"], [None, None], [True, True], [0, 1], ["b", "b"]
        ]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_bytearrays(tmp_path, protocol):
    assert read_pickle(saved(tmp_path, [bytearray(b"a\xff"), bytearray()], protocol)) == [b"a\xff", b""]


def test_an_older_frame_without_its_state(tmp_path):
    made = old_frame("pandas.core.internals", "_data")
    made.state["_data"].state = (1, 2)
    with pytest.raises(MMFairseqError, match="do not fit together"):
        read_pickle(saved(tmp_path, pickled([made])))


def test_columns_of_one_name(tmp_path):
    pd.DataFrame([[1, 2]], columns=["audio", "audio"]).to_pickle(tmp_path / "a.pkl")
    with pytest.raises(MMFairseqError, match=r"a\.pkl: a pandas frame with several columns of the name 'audio'"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "column", [pd.to_datetime(["2020-01-01"]), pd.array([1], dtype="Int64"), [pd.Timestamp(0).date()]]
)
def test_other_columns_can_be_left_out(tmp_path, column):
    pd.DataFrame({"x": column}).to_pickle(tmp_path / "a.pkl")
    with pytest.raises(MMFairseqError, match="leave the column out, or save as Parquet"):
        read_pickle(tmp_path / "a.pkl")
