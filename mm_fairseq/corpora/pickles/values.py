"""What the calls in a pickle of numpy and pandas stand for: arrays, and frames as columns.

Names and states of objects are those of numpy 1 and 2 (`_reconstruct`, `_frombuffer`, `dtype`, `scalar`) and of pandas
from 0.25 on: a DataFrame is a BlockManager, whose blocks hold the values of several columns each. Texts are object
arrays, or arrays of Arrow (offsets and bytes) from pandas 3 on.
"""

import mmap
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MMFairseqError
from ...pickles import MAX_STEPS, OTHER_COLUMN, Grown, Machine, Made, Name, keys
from ..recordings import POINTER, is_pointer

DEEPEST = 100  # containers in containers
BYTES_A_STEP = 64  # of large files: their numbers stand in lists, 64 of which are one step
GROWTH = 4  # values that are made anew for each byte of a file: honest files need less than two
FREE = 1 << 16  # values made anew in the smallest file
MOST_AXES = 64  # of an array

_NUMPY = {
    "multiarray._reconstruct",
    "multiarray.scalar",
    "numeric._frombuffer",
}
_PLAIN = {"numpy.ndarray", "numpy.dtype", "_codecs.encode", "collections.OrderedDict"} | {
    f"builtins.{name}" for name in ("bytes", "bytearray", "slice", "set", "frozenset")
}
_PANDAS = {
    "NA",
    "DataFrame",
    "BlockManager",
    "_unpickle_block",
    "_new_Index",
    "Index",
    "RangeIndex",
    "NumericIndex",
    "Int64Index",
    "UInt64Index",
    "Float64Index",
    "ArrowStringArray",
    "ArrowStringArrayNumpySemantics",
    "StringArray",
    "StringArrayNumpySemantics",
    "StringDtype",
    "Categorical",
    "CategoricalDtype",
    "__pyx_unpickle_NDArrayBacked",
}
_ARROW = {"_restore_array", "type_for_alias", "py_buffer", "chunked_array"}
_OFFSETS = {"string": "<i4", "utf8": "<i4", "large_string": "<i8", "large_utf8": "<i8"}
_DTYPE = re.compile(r"[<>|=]?([biufcSU]\d+|\?|O\d*)$")


@dataclass
class Frame:
    """A pandas frame: {column: values}, all of one length."""

    columns: dict[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_pickle(path: str | os.PathLike) -> Any:
    """A pickle of plain values, numpy arrays and pandas frames; nothing in it is run.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, set, dict, `numpy.ndarray` or `Frame`. A long list of numbers
        is an array. Arrays are views into the mapped file.

    Raises:
        MMFairseqError: the file is not one, is damaged or cut short, or names anything else; with the place.
    """
    path = Path(path)
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such file")
    if not path.stat().st_size:
        raise MMFairseqError(f"{path}: an empty file")
    if is_pointer(path):
        raise MMFairseqError(f"{path}: {POINTER}")
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tree = Machine(data, str(path), admitted, max(MAX_STEPS, len(data) // BYTES_A_STEP)).run()
    try:
        return _Plain(GROWTH * len(data) + FREE).plain(tree)
    except MMFairseqError as error:
        raise MMFairseqError(f"{path}: {error}") from None
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, MemoryError, RecursionError) as error:
        raise MMFairseqError(
            f"{path}: arrays or frames in it do not fit together ({type(error).__name__}: {error})"
        ) from error


def admitted(module: str, name: str) -> bool:
    """Whether numpy arrays or pandas frames need a name."""
    return _known(module, name) != ""


def _known(module: str, name: str) -> str:
    """A name as this file knows it, whatever version wrote it; "" for all others."""
    full = f"{module}.{name}".replace("__builtin__.", "builtins.").replace("numpy.core.", "numpy._core.")
    if full in _PLAIN or full.removeprefix("numpy._core.") in _NUMPY:
        return full.removeprefix("numpy._core.")
    if module.split(".")[0] == "pandas" and name in _PANDAS:
        return name
    if module == "pyarrow.lib" and name in _ARROW:
        return f"arrow.{name}"
    return ""


def _name(made: Made) -> str:
    return _known(made.name.module, made.name.name)


class _Plain:
    """From the machine's tree to plain values; each object once, however often it is referred to.

    Args:
        left: how many values may be made anew. A file can refer to the same bytes again and again, or name a number.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: dict[int, tuple[Any, Any]] = {}  # the object as well, so that its id stays its own
        self.depth = 0

    def plain(self, value: Any) -> Any:
        if not isinstance(value, Grown | Made | dict | tuple | set | frozenset | memoryview):
            if isinstance(value, Name) and value.name == "NA":
                return None
            if isinstance(value, Name):
                raise MMFairseqError(f"{value} itself is no data")
            return value
        if id(value) not in self.done:
            self.depth += 1
            if self.depth > DEEPEST:
                raise MMFairseqError(f"more than {DEEPEST} lists, tuples and dicts in each other")
            self.done[id(value)] = (value, self._of(value))
            self.depth -= 1
        return self.done[id(value)][1]

    def _spend(self, values: Any) -> Any:
        """The values, which are about to be copied one by one; or their number.

        Raises:
            MMFairseqError: they are more than the file can hold.
        """
        self.left -= values if isinstance(values, int) else len(values)
        if self.left < 0:
            raise MMFairseqError("the same bytes again and again, or numbers of values that are not there")
        return values

    def _of(self, value: Any) -> Any:
        if isinstance(value, memoryview):
            return bytes(value)
        if isinstance(value, Made):
            return self._made(value)
        if isinstance(value, Grown):
            items = value.plain()
            return items if isinstance(items, np.ndarray) else [self.plain(item) for item in items]
        if isinstance(value, dict):
            return dict(zip(keys([self.plain(key) for key in value]), map(self.plain, value.values()), strict=True))
        items = [self.plain(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else type(value)(keys(items))

    def _made(self, made: Made) -> Any:
        name, args = _name(made), made.args
        if name == "multiarray._reconstruct":
            return self._array(*made.state[1:])
        if name == "numeric._frombuffer":
            raw, dtype, shape, order = args
            return self._array(shape, dtype, order == "F", raw)
        if name == "multiarray.scalar":
            return self._array((), args[0], False, args[1])[()]
        if name == "numpy.dtype":
            return _dtype(args[0], made.state[1] if made.state else "=")
        if name == "_codecs.encode" and args[1] in ("latin1", "latin-1"):
            return self._spend(args[0]).encode("latin1")
        if name in ("builtins.bytes", "builtins.bytearray"):
            return self._bytes(*args) if args else b""
        if name in ("builtins.set", "builtins.frozenset"):
            return set(keys(self._spend(self.plain(args[0])))) if args else set()
        if name == "collections.OrderedDict":
            pairs = self._spend(self.plain(args[0])) if args else []
            return dict(zip(keys([key for key, _ in pairs]), (item for _, item in pairs), strict=True))
        if name == "builtins.slice":
            return slice(*args)
        if name == "DataFrame":
            return self._frame(made.state)
        if name == "_new_Index":
            return self._index(self.plain(args[1]))
        if name.startswith("arrow."):
            return self._arrow(name, args)
        if name in ("ArrowStringArray", "ArrowStringArrayNumpySemantics"):
            return self.plain(made.state["_pa_array"] if "_pa_array" in made.state else made.state["_data"])
        if name in ("__pyx_unpickle_NDArrayBacked", "StringArray", "StringArrayNumpySemantics", "Categorical"):
            return self._backed(made)
        if name == "CategoricalDtype":
            return self.plain(made.state["categories"])
        if name == "StringDtype":
            return None
        raise MMFairseqError(f"{made.name} stands where no data of numpy or pandas have it")

    def _bytes(self, value: Any, encoding: Any = None) -> bytes:
        """The argument of `bytes` and the like; text in protocol 2. A number would be as many zeros."""
        if isinstance(value, str) and encoding == "latin-1":
            return self._spend(value).encode("latin1")
        found = self.plain(value)
        if not isinstance(found, bytes):
            raise MMFairseqError(f"{type(found).__name__} stands where bytes should")
        return found

    # numpy

    def _array(self, shape: Any, dtype: Any, fortran: Any, raw: Any) -> np.ndarray:
        """An array of a state of `ndarray.__reduce__`. Shape (*shape)."""
        kind, shape = self.plain(dtype), self.plain(shape)
        if not isinstance(shape, tuple) or len(shape) > MOST_AXES:
            raise MMFairseqError("an array whose shape is none")
        count = 1
        for size in shape:
            count *= int(size)
        if kind.hasobject:
            items = self._spend(self.plain(raw))
            if len(items) != count:
                raise MMFairseqError(f"an array of shape {shape} with {len(items)} elements")
            out = np.empty(count, object)
            for place, item in enumerate(items):
                out[place] = item
        else:
            raw = raw if isinstance(raw, memoryview) else self.plain(raw)
            if len(raw) != count * kind.itemsize or (count and not kind.itemsize):
                raise MMFairseqError(f"an array of shape {shape} and type {kind} with {len(raw)} bytes")
            out = np.frombuffer(raw, kind, count) if count else np.empty(0, kind)
        return out.reshape(shape, order="F" if fortran else "C")

    # pandas

    def _frame(self, state: Any) -> Frame:
        manager = next((state[key] for key in ("_mgr", "_data") if key in state), None)
        if not isinstance(manager, Made) or _name(manager) != "BlockManager":
            raise MMFairseqError("a pandas frame in a form that is not known; save it anew, or as Parquet")
        if manager.state is None:
            blocks = [self._block(block) for block in self._items(manager.args[0])]
            axes = [self.plain(axis) for axis in self._items(manager.args[1])]
        else:  # before pandas 1.3
            kept = next((part for part in manager.state if isinstance(part, dict)), {})["0.14.1"]
            axes = [self.plain(axis) for axis in self._items(kept["axes"])]
            parts = [self.plain(block) for block in self._items(kept["blocks"])]
            blocks = [(part["values"], part["mgr_locs"]) for part in parts]
        names, rows = list(keys(self._spend(axes[0]))), len(axes[1])
        columns: dict[int, Any] = {}
        for values, places in blocks:
            places = range(*places.indices(len(names))) if isinstance(places, slice) else places
            for row, place in enumerate(self._spend(places)):
                columns[int(place)] = values[row] if isinstance(values, np.ndarray) and values.ndim == 2 else values
        if sorted(columns) != list(range(len(names))) or any(len(column) != rows for column in columns.values()):
            raise MMFairseqError(f"a pandas frame of {rows} rows and the columns {names[:8]}, whose blocks hold others")
        found = {str(name): columns[place] for place, name in enumerate(names)}
        if len(found) < len(names):
            twice = next(name for name, count in Counter(map(str, names)).items() if count > 1)
            raise MMFairseqError(f"a pandas frame with several columns of the name {twice!r}")
        return Frame(found)

    def _items(self, value: Any) -> Sequence[Any]:
        return self._spend(value.parts if isinstance(value, Grown) else value)

    def _block(self, block: Any) -> tuple[Any, Any]:
        if not isinstance(block, Made) or _name(block) != "_unpickle_block":
            raise MMFairseqError("a block of a pandas frame in a form that is not known; save it anew, or as Parquet")
        return self.plain(block.args[0]), self.plain(block.args[1])

    def _index(self, state: dict[str, Any]) -> Sequence[Any]:
        if "data" in state:
            return list(self._spend(state["data"]))
        return range(state["start"], state["stop"], state["step"])

    def _backed(self, made: Made) -> Any:
        """Values of an extension array around one of numpy: texts, or categories by number."""
        parts = made.state if isinstance(made.state, tuple) else tuple((made.state or {}).values())
        found = [self.plain(part) for part in parts if isinstance(part, Made | dict)]
        values = next((part for part in found if isinstance(part, np.ndarray)), None)
        if values is None:
            raise MMFairseqError(f"{made.name} without values")
        categories = next((part for part in found if isinstance(part, list | range)), None)
        if categories is None:
            return list(self._spend(values))
        return [categories[number] if number >= 0 else None for number in self._spend(values).tolist()]

    def _arrow(self, name: str, args: tuple[Any, ...]) -> Any:
        if name == "arrow.py_buffer":
            return self._bytes(args[0])
        if name == "arrow.type_for_alias":
            return args[0]
        if name == "arrow.chunked_array":
            return [text for chunk in self._items(args[0]) for text in self._spend(self.plain(chunk))]
        kind, count, _, offset, buffers, *_ = args[0]
        kind = self.plain(kind)
        if not isinstance(kind, str) or kind not in _OFFSETS:
            told = repr(kind[:40]) if isinstance(kind, str) else type(kind).__name__
            raise MMFairseqError(f"an Arrow array of {told}; only texts are read; {OTHER_COLUMN}")
        valid, places, letters = (self.plain(buffer) for buffer in self._items(buffers))
        ends = np.frombuffer(places or bytes(8), _OFFSETS[kind])
        if not (isinstance(count, int) and isinstance(offset, int) and 0 <= offset <= offset + count < len(ends)):
            raise MMFairseqError("an Arrow array of more texts than places")
        ends, letters = ends[offset : offset + count + 1], letters or b""
        if ends[0] < 0 or ends[-1] > len(letters) or (ends[1:] < ends[:-1]).any():
            raise MMFairseqError("an Arrow array of texts whose places are not one behind the other")
        known = None if valid is None else np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        self._spend(count + int(ends[-1] - ends[0]))
        steps = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        return [
            letters[first:last].decode() if known is None or known[offset + row] else None
            for row, (first, last) in enumerate(steps)
        ]


def _dtype(text: Any, order: Any) -> np.dtype:
    """A type of numbers, texts or objects.

    Raises:
        MMFairseqError: it is another.
    """
    text = bytes(text).decode("ascii") if isinstance(text, memoryview) else text
    order = bytes(order).decode("ascii") if isinstance(order, memoryview) else order
    if not isinstance(text, str) or not _DTYPE.match(text):
        told = repr(text[:40]) if isinstance(text, str) else type(text).__name__
        raise MMFairseqError(f"an array of type {told}; only numbers, texts and objects are read; {OTHER_COLUMN}")
    if text.startswith("O"):
        return np.dtype(object)
    swapped = order in ("<", ">") and order != ("<" if sys.byteorder == "little" else ">")
    return np.dtype(text).newbyteorder("S") if swapped else np.dtype(text)
