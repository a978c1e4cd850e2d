"""Tables of arrays, pickled frames of pandas or Parquet: columns of values, arrays and lists, one entry a row."""

import html
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from .base import one_line
from .pickles import Frame, read_pickle

SUFFIXES = (".pkl", ".pickle", ".parquet")
LARGEST = 1 << 27  # numbers in one field

_NUMBERS = (int, float, np.number, np.bool_, np.ndarray)


def read_frame(path: Path) -> dict[str, Sequence[Any]]:
    """The columns of a pickled pandas frame (see `pickles`) or of a Parquet file.

    Returns:
        {column: values}; a list of numbers is an array [T], a list of lists of one length each an array [T, D].

    Raises:
        MMFairseqError: it is none, is damaged, or pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        return read_parquet(path)
    found = read_pickle(path)
    if not isinstance(found, Frame):
        raise MMFairseqError(f"{path}: holds {type(found).__name__}, not a frame of pandas")
    return found.columns


def read_parquet(path: Path) -> dict[str, Sequence[Any]]:
    """The columns of a Parquet file, as `read_frame` gives them."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MMFairseqError(f"{path}: Parquet needs pyarrow: pip install 'mm-fairseq[pandas]' ({error})") from error
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such file")
    try:
        table = parquet.read_table(path)
        return {name: _plain(table.column(name).combine_chunks(), pyarrow) for name in table.column_names}
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise MMFairseqError(f"{path}: no Parquet file, or a damaged one: {error}") from error


def _plain(column: Any, pyarrow: Any) -> Sequence[Any]:
    """One column, or what is in its lists."""
    kind = column.type
    if isinstance(column, pyarrow.ChunkedArray):
        return [value for chunk in column.chunks for value in _plain(chunk, pyarrow)]
    if pyarrow.types.is_fixed_size_list(kind):
        column, kind = column.cast(pyarrow.list_(kind.value_type)), pyarrow.list_(kind.value_type)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        values, ends = _plain(column.values, pyarrow), column.offsets.to_numpy()
        known = column.is_valid().to_numpy(zero_copy_only=False)
        rows = [_joined(values[first:last]) for first, last in zip(ends[:-1], ends[1:], strict=True)]
        return [row if there else None for row, there in zip(rows, known, strict=True)]
    if (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)) and not column.null_count:
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()


def _joined(items: Sequence[Any]) -> Any:
    """A row of a column of lists: rows of one length become an array [T, D]."""
    if isinstance(items, np.ndarray):
        return items
    if items and all(isinstance(item, np.ndarray) and item.shape == items[0].shape for item in items):
        return np.stack(items)
    return list(items)


def numbers(value: Any, depth: int) -> np.ndarray:
    """A number, an array, or lists of them in one another, as an array.

    Lists can share lists, so that a few bytes stand for any number of numbers: they are counted before they are copied.

    Args:
        depth: how many lists may be in one another.

    Raises:
        ValueError: it is something else, has rows of several lengths, or more than `LARGEST` numbers.
    """
    level = [value]
    for _ in range(depth):
        lists = [each for each in level if isinstance(each, list | tuple)]
        if not lists:
            break
        if sum(map(len, lists)) > LARGEST:
            raise ValueError(f"more than {LARGEST} numbers")
        level = [item for each in level for item in (each if isinstance(each, list | tuple) else (each,))]
    if strange := [kind.__name__ for kind in set(map(type, level)) if not issubclass(kind, _NUMBERS)]:
        raise ValueError(min(strange) if level == [value] else f"{type(value).__name__} of {min(strange)}")
    if sum(each.size for each in level if isinstance(each, np.ndarray)) > LARGEST:
        raise ValueError(f"more than {LARGEST} numbers")
    return np.asarray(value)


def shown(value: Any) -> str:
    """The beginning of a value, for messages; of what may hold lists that share lists only the type."""
    plain = isinstance(value, str | bytes | int | float | np.generic | None)
    if plain or (isinstance(value, np.ndarray) and not value.dtype.hasobject):
        return str(value)[:40]
    return type(value).__name__


def sentence_of(value: Any, place: str) -> str:
    """A sentence without HTML escapes, in composed form (NFC), every run of white space one space.

    Nothing else is changed; decomposed Hangul, as some systems store it, would be other symbols to a tokenizer.

    Raises:
        MMFairseqError: it is no text.
    """
    if missing(value):
        return ""
    if not isinstance(value, str):
        raise MMFairseqError(f"{place}: {type(value).__name__} {shown(value)!r}, not a text")
    return one_line(unicodedata.normalize("NFC", html.unescape(value)))


def missing(value: Any) -> bool:
    """Whether a field is empty: None or NaN."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
