"""Pickle protocols 2 to 5 (and PEP 574 without buffers out of band), read as data.

A pickle is a program that calls whatever it names. Here nothing is imported or called: a name becomes a `Name` if it is
one of those that the caller admits, a call or a new object becomes a `Made`, and what these stand for is decided by
who asked for the file. Every length is checked against the file before memory is taken.
"""

import gc
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from .errors import MMFairseqError

WINDOW = 1 << 12  # bytes of a list of numbers that are decoded at once
FEW = 16  # numbers: so many in a row are decoded at once
FRAME = b"\x95"  # with its length, 8 bytes, anywhere between opcodes
MAX_INT = 16  # bytes of a whole number
MAX_STEPS = 3 << 20  # opcodes: a million and a half strings
MAX_STACK = 1 << 20  # values that wait to be put somewhere
MAX_KEY = 64  # parts of a tuple that is a key
OTHER_COLUMN = "leave the column out, or save as Parquet"

_SIZES = {ord("K"): 2, ord("M"): 3, ord("J"): 5, ord("G"): 9}  # opcodes of numbers: bytes from one to the next


@dataclass(frozen=True)
class Name:
    """An admitted global name; nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Made:
    """What a call of an admitted name, or a new object of it, would have been.

    Args:
        name: of the function or class.
        args: its arguments.
        state: what was set on it afterwards; None where nothing was.
    """

    name: Name
    args: tuple[Any, ...]
    state: Any = None


class Grown:
    """A list in the making: values, and runs of numbers as arrays."""

    __slots__ = ("parts", "runs")

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.runs = 0

    def add(self, values: list[Any]) -> None:
        self.parts.extend(values)

    def add_run(self, numbers: np.ndarray) -> None:
        self.parts.append(_Run(numbers))
        self.runs += 1

    def plain(self) -> list[Any] | np.ndarray:
        """The list; an array [T] where it is of runs of numbers and single ones alone."""
        if not self.runs:
            return self.parts
        if all(isinstance(part, _Run) or type(part) in (int, float) for part in self.parts):
            groups = groupby(self.parts, key=lambda part: isinstance(part, _Run))
            pieces = [[part.numbers for part in group] if runs else [np.array(list(group))] for runs, group in groups]
            return np.concatenate([_narrow(piece) for group in pieces for piece in group])
        return [value for part in self.parts for value in (part.numbers.tolist() if isinstance(part, _Run) else [part])]


@dataclass(eq=False)
class _Run:
    numbers: np.ndarray


_KEYS = (str, int, float, bytes, memoryview, np.generic, Made)  # what is made is looked at again


class Machine:
    """Reads one pickle.

    Args:
        data: the bytes; a memory map is not copied. What stands behind the end of the pickle is left alone.
        where: the file's name for messages.
        admits: whether a module and a name in it may be named.
        steps_left: opcodes that it may have.
    """

    steps: ClassVar[dict[bytes, Callable[[Any], None]]]
    numbers_a_step: ClassVar[int] = 64  # of a run

    def __init__(self, data: Any, where: str, admits: Callable[[str, str], bool], steps_left: int = MAX_STEPS) -> None:
        self.data = memoryview(data)
        self.where, self.admits, self.steps_left = where, admits, steps_left
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The tree: None, bool, int, float, str, bytes, tuple, dict, set, `Grown`, `Name` and `Made`.

        Raises:
            MMFairseqError: the file is damaged or cut short, names what is not admitted, or is too long a program.
        """
        collects = gc.isenabled()
        gc.disable()  # it would look again and again at the many values that are kept
        try:
            return self._run()
        except MMFairseqError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error) as error:
            raise MMFairseqError(
                f"{self.where}: before byte {self.at}: a damaged pickle ({type(error).__name__}: {error})"
            ) from error
        finally:
            if collects:
                gc.enable()

    def _run(self) -> Any:
        if self._take(1) != b"\x80" or not 2 <= self._take(1)[0] <= 5:
            raise MMFairseqError(f"{self.where}: not a pickle of protocol 2 to 5")
        steps, data, stack = {code[0]: step for code, step in self.steps.items()}, self.data, self.stack
        end = len(data)
        while (code := data[self.at] if self.at < end else self._take(1)[0]) != ord("."):
            step = steps.get(code)
            if step is None:
                raise MMFairseqError(f"{self.where}: byte {self.at}: opcode {bytes([code])!r} is none of plain data")
            self.at += 1
            step(self)
            self.steps_left -= 1
            if self.steps_left < 0 or len(stack) > MAX_STACK:
                self.count(0)
                raise MMFairseqError(f"{self.where}: byte {self.at}: more than {MAX_STACK} values in no list")
        self.at += 1
        return stack.pop()

    def count(self, steps: int) -> None:
        """Take steps off those that are left.

        Raises:
            MMFairseqError: there are none.
        """
        self.steps_left -= steps
        if self.steps_left < 0:
            raise MMFairseqError(f"{self.where}: byte {self.at}: too many values for a pickle")

    # Bytes

    def _take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            raise MMFairseqError(f"{self.where}: cut short: {count} bytes are wanted at byte {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, form: str) -> str:
        return bytes(self._take(self._number(form))).decode("utf-8", "surrogatepass")

    def _whole(self, count: int) -> int:
        if not 0 <= count <= MAX_INT:
            raise MMFairseqError(f"{self.where}: byte {self.at}: a whole number of {count} bytes")
        return int.from_bytes(self._take(count), "little", signed=True)

    # Stack

    def _marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def _mark(self) -> None:
        self.marks.append(len(self.stack))
        place = self.at
        for _ in range(FEW):
            if place >= len(self.data) or not (size := _SIZES.get(self.data[place], 0)):
                return
            place += size
        self._numbers()

    def _numbers(self) -> None:
        """A run of numbers behind a mark, decoded at once; as an array where a list takes them."""
        runs = []
        while True:
            numbers, used = _decode(bytes(self.data[self.at : self.at + WINDOW]))
            if used:
                self.count(len(numbers) // self.numbers_a_step)
                runs.append(numbers)
                self.at += used
            elif self.data[self.at : self.at + 1] == FRAME:
                self._take(9)
            else:
                break
        if self.data[self.at : self.at + 1] == b"e" and isinstance(self.stack[-1], Grown):
            self.at += 1
            self.marks.pop()
            self.stack[-1].add_run(np.concatenate(runs))
        else:
            self.count(sum(map(len, runs)))
            self.stack.extend(number for run in runs for number in run.tolist())

    def _append(self) -> None:
        value = self.stack.pop()
        self._list().add([value])

    def _appends(self) -> None:
        values = self._marked()
        self._list().add(values)

    def _list(self) -> Grown:
        if not isinstance(self.stack[-1], Grown):
            raise TypeError("no list to append to")
        return self.stack[-1]

    def _set_items(self, pairs: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or len(pairs) % 2:
            raise TypeError("no dict to put items into")
        self.stack[-1].update(zip(keys(pairs[::2]), pairs[1::2], strict=True))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _add_items(self) -> None:
        values = self._marked()
        if not isinstance(self.stack[-1], set):
            raise TypeError("no set to add to")
        self.stack[-1].update(keys(values))

    def _tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(values)

    # Names and what is made of them

    def _global(self) -> None:
        names = []
        for _ in range(2):
            end = bytes(self.data[self.at : self.at + 256]).find(b"\n")
            names.append(bytes(self._take(end if end >= 0 else 257)).decode())
            self._take(1)
        self._name(*names)

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)) or not self.admits(module, name):
            shown = [str(part)[:80] if isinstance(part, str | int) else type(part).__name__ for part in (module, name)]
            column = shown[0].split(".")[0] in ("pandas", "datetime")
            raise MMFairseqError(
                f"{self.where}: byte {self.at}: refused: the pickle names {'.'.join(shown)}, which is no part of plain "
                f"data; nothing of it was run{'; ' + OTHER_COLUMN if column else ''}"
            )
        self.stack.append(Name(module, name))

    def _make(self) -> None:
        args, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or not isinstance(args, tuple):
            raise TypeError("a call of something that is no name")
        self.stack.append(Made(name, args))

    def _make_ex(self) -> None:
        if self.stack.pop():
            raise TypeError("a call with named arguments")
        self._make()

    def _build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Made):
            raise TypeError("a state of something that was not made")
        self.stack[-1].state = state

    def _get(self, form: str) -> None:
        self.stack.append(self.memo[self._number(form)])

    def _put(self, form: str) -> None:
        self.memo[self._number(form)] = self.stack[-1]

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _skip(self, count: int) -> None:
        self._take(count)


def keys(values: Sequence[Any]) -> Sequence[Any]:
    """The values, each of which can be a key of a dict or a member of a set.

    To hash tuples in tuples recurses without a limit, and takes for ever where they are shared.

    Raises:
        TypeError: one is neither plain nor a short tuple of plain values.
    """
    for value in values:
        if isinstance(value, tuple) and len(value) > MAX_KEY:
            raise TypeError(f"{len(value)} values in a key")
        for part in value if isinstance(value, tuple) else (value,):
            if not (part is None or isinstance(part, _KEYS)):
                raise TypeError(f"{type(part).__name__} in a key")
    return values


def _decode(raw: bytes) -> tuple[np.ndarray, int]:
    """The numbers that `raw` begins with, as far as they are whole, and how many bytes they take."""
    places, at, end = [], 0, len(raw)
    while at < end and (size := _SIZES.get(raw[at], end + 1)) <= end - at:
        places.append(at)
        at += size
    numbers, read = np.array(places, np.int64), np.frombuffer(raw, np.uint8)
    values = np.zeros(len(numbers), np.float64 if (read[numbers] == ord("G")).any() else np.int32)
    for code, form, size in (("K", "u1", 1), ("M", "<u2", 2), ("J", "<i4", 4), ("G", ">f8", 8)):
        chosen = read[numbers] == ord(code)
        payload = read[numbers[chosen][:, None] + np.arange(1, size + 1)]
        values[chosen] = payload.view(form)[:, 0]
    return _narrow(values), at


def _narrow(values: np.ndarray) -> np.ndarray:
    """Whole numbers in the smaller type where they fit."""
    if values.dtype.kind == "i" and len(values):
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max:
                return values.astype(dtype)
    return values


Machine.steps = {
    b"\x80": lambda m: m._skip(1),
    FRAME: lambda m: m._skip(8),
    b"(": Machine._mark,
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m._marked(),
    b"2": lambda m: m.stack.append(m.stack[-1]),
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"J": lambda m: m.stack.append(m._number("<i")),
    b"K": lambda m: m.stack.append(m._number("<B")),
    b"M": lambda m: m.stack.append(m._number("<H")),
    b"\x8a": lambda m: m.stack.append(m._whole(m._number("<B"))),
    b"\x8b": lambda m: m.stack.append(m._whole(m._number("<i"))),
    b"G": lambda m: m.stack.append(m._number(">d")),
    b"X": lambda m: m.stack.append(m._text("<I")),
    b"\x8c": lambda m: m.stack.append(m._text("<B")),
    b"\x8d": lambda m: m.stack.append(m._text("<Q")),
    b"B": lambda m: m.stack.append(m._take(m._number("<I"))),
    b"C": lambda m: m.stack.append(m._take(m._number("<B"))),
    b"\x8e": lambda m: m.stack.append(m._take(m._number("<Q"))),
    b"\x96": lambda m: m.stack.append(m._take(m._number("<Q"))),
    b"U": lambda m: m.stack.append(m._take(m._number("<B"))),
    b"T": lambda m: m.stack.append(m._take(m._number("<i"))),
    b"]": lambda m: m.stack.append(Grown()),
    b"a": Machine._append,
    b"e": Machine._appends,
    b")": lambda m: m.stack.append(()),
    b"t": lambda m: m.stack.append(tuple(m._marked())),
    b"\x85": lambda m: m.stack.append((m.stack.pop(),)),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"}": lambda m: m.stack.append({}),
    b"s": Machine._set_item,
    b"u": lambda m: m._set_items(m._marked()),
    b"\x8f": lambda m: m.stack.append(set()),
    b"\x90": Machine._add_items,
    b"\x91": lambda m: m.stack.append(frozenset(keys(m._marked()))),
    b"h": lambda m: m._get("<B"),
    b"j": lambda m: m._get("<I"),
    b"q": lambda m: m._put("<B"),
    b"r": lambda m: m._put("<I"),
    b"\x94": Machine._memoize,
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": lambda m: m._make(),
    b"\x81": lambda m: m._make(),
    b"\x92": Machine._make_ex,
    b"b": lambda m: m._build(),
}
