"""Files of `torch.save`: the zip archives of today, and the pickles in a row of torch before 1.6.

What the file says of itself is held against its bytes before anybody takes memory for it.
"""

import mmap
import os
import struct
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MMFairseqError
from ..pickles import Grown, Made, Name
from .machine import MAX_STEPS, STORAGE, TorchMachine

NO_CHECKPOINT = "cut short or damaged, or no checkpoint at all"
EMPTY, NO_FORM = "an empty file", "no checkpoint: it begins neither as the zip archive nor as the pickle of torch.save"
MAX_PICKLE = 2**26  # bytes of all that is no tensor
MAX_RECORDS = 2**20
ZIP, LEGACY = "torch archive", "torch pickles, as before torch 1.6"
BROKEN_ZIP = (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, struct.error, RuntimeError)
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_SIZES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "Untyped", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
ELEMENTS = {f"{name}Storage": size for name, size in _SIZES.items()}  # bytes of one
_END, _END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")


class Saved(NamedTuple):
    """What a file holds, unexecuted.

    Args:
        kind: `ZIP` or `LEGACY`.
        tree: see `TorchMachine`.
        names: that its pickles name, in their order.
        made: everything that they make, whether it is in the tree or not.
        storages: bytes of each storage that is there, by key; None where only their sum counts.
        room: bytes that are there for all storages.
    """

    kind: str
    tree: Any
    names: list[str]
    made: list[Made]
    storages: dict[str, int] | None
    room: int


class Storage(NamedTuple):
    """A persistent id: the class of a storage, its key in the file, its elements and bytes."""

    form: str
    key: str
    numel: int
    nbytes: int


def read_saved(path: Path) -> Saved:
    """Read all but the tensors' numbers.

    Raises:
        MMFairseqError: neither form, or damaged; without the path.
    """
    with open(path, "rb") as file:
        begin = file.read(4)
        if begin == b"PK\x03\x04":
            return _archive(path)
        if begin[:1] != b"\x80":
            raise MMFairseqError(NO_FORM if begin else EMPTY)
        with_map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _pickles(with_map)


def storage(made: Made) -> Storage:
    """What a persistent id says.

    Raises:
        MMFairseqError: it is none of a storage.
    """
    kind, form, key, _, numel, *view = [*made.args, None, None, None, None, None][: max(5, len(made.args))]
    name = form.name if isinstance(form, Name) and form.module in ("torch", "torch.storage", "torch.cuda") else ""
    if as_text(kind) != "storage" or name not in ELEMENTS or type(numel) is not int or numel < 0:
        raise MMFairseqError("a storage of a kind or size that torch does not write")
    out = Storage(name, as_text(key), numel, numel * ELEMENTS[name])
    if view and view[0] is not None:
        parts = view[0]
        if not isinstance(parts, tuple) or len(parts) != 3 or any(type(each) is not int for each in parts[1:]):
            raise MMFairseqError(f"storage {out.key}: a view of a form that torch does not write")
        if not 0 <= parts[1] <= parts[1] + parts[2] <= numel:
            raise MMFairseqError(f"storage {out.key}: a view beyond its {numel} elements")
    return out


def as_text(value: Any) -> str:
    """A string, or the bytes that Python 2 wrote for one; "" for anything else."""
    return bytes(value).decode("latin1") if isinstance(value, memoryview) else value if isinstance(value, str) else ""


def _archive(path: Path) -> Saved:
    try:
        with zipfile.ZipFile(path) as archive:
            records = _records(archive, path)
            if "constants.pkl" in records:
                raise MMFairseqError("a program (TorchScript), not a checkpoint")
            if "data.pkl" not in records:
                raise MMFairseqError(NO_CHECKPOINT)
            if records["data.pkl"].file_size > MAX_PICKLE:
                raise MMFairseqError(f"{records['data.pkl'].file_size} bytes beside the tensors; at most {MAX_PICKLE}")
            data = archive.read(records["data.pkl"])
    except MMFairseqError:
        raise
    except BROKEN_ZIP as error:
        raise MMFairseqError(f"{NO_CHECKPOINT} ({error})") from error
    machine = TorchMachine(data, "data.pkl")
    tree = machine.run()
    storages = {name.removeprefix("data/"): each.file_size for name, each in records.items() if name[:5] == "data/"}
    return Saved(ZIP, tree, [*machine.names], machine.made, storages, sum(storages.values()))


def _records(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, without the folder around all of them.

    Raises:
        MMFairseqError: a directory that two readers could understand in two ways, or more bytes than the file has.
    """
    entries, size = archive.infolist(), path.stat().st_size
    if not entries or archive.start_dir != _start_of_directory(path, size):
        raise MMFairseqError(NO_CHECKPOINT)
    folder = entries[0].filename.partition("/")[0] + "/"
    found = {each.filename.removeprefix(folder): each for each in entries}
    if len(entries) > MAX_RECORDS or len({name.lower() for name in found}) != len(entries):
        raise MMFairseqError(f"an archive of {len(entries)} parts, some of one name, or too many")
    for each in entries:
        if not each.filename.startswith(folder) or ".." in each.filename.split("/"):
            raise MMFairseqError(f"a part named {each.filename[:80]!r}, which torch does not write")
        if each.compress_type != zipfile.ZIP_STORED or each.compress_size != each.file_size or each.flag_bits & 1:
            raise MMFairseqError(f"{each.filename[:80]} in it is compressed, which torch does not write")
    ordered = sorted(entries, key=lambda each: each.header_offset)
    if any(one.header_offset + one.file_size > other.header_offset for one, other in pairwise(ordered)):
        raise MMFairseqError("parts that overlap")
    if (total := sum(each.file_size for each in entries)) > size:
        raise MMFairseqError(f"parts of {total} bytes in a file of {size}")
    return found


def _start_of_directory(path: Path, size: int) -> int:
    """Where the end of the file says that the list of its parts begins; -1 where it does not end as it should."""
    with open(path, "rb") as file:
        file.seek(max(0, size - _END.size - _LOCATOR.size))
        tail = file.read()
        if len(tail) < _END.size:
            return -1
        mark, *_, start, comment = _END.unpack(tail[-_END.size :])
        if mark != b"PK\5\6" or comment:
            return -1
        if tail[: _LOCATOR.size][:4] != b"PK\6\7" or len(tail) != _END.size + _LOCATOR.size:
            return start
        place = _LOCATOR.unpack(tail[: _LOCATOR.size])[2]
        if place > size - _END64.size:
            return -1
        file.seek(place)
        return _END64.unpack(file.read(_END64.size))[-1]


def _pickles(data: mmap.mmap) -> Saved:
    """Magic number, version, system, the state, the keys of storages; behind them each: its length and its bytes."""
    parts: list[Any] = []
    names: dict[str, None] = {}
    made: list[Made] = []
    at, steps_left = 0, MAX_STEPS
    for place in ("its begin", "its begin", "its begin", "the state", "the list of storages"):
        machine = TorchMachine(memoryview(data)[at : at + MAX_PICKLE], place, steps_left)
        parts.append(machine.run())
        steps_left = machine.steps_left
        if len(parts) == 1 and parts[0] != _MAGIC:
            raise MMFairseqError(NO_CHECKPOINT)
        at, names = at + machine.at, names | machine.names
        made += machine.made
    if parts[1] != _PROTOCOL or not isinstance(parts[4], Grown):
        raise MMFairseqError(NO_CHECKPOINT)
    wanted = {found.key: found.nbytes for found in map(storage, (each for each in made if each.name == STORAGE))}
    listed = [as_text(key) for key in parts[4].parts]
    if len(set(listed)) != len(listed) or set(listed) != wanted.keys():
        raise MMFairseqError(NO_CHECKPOINT)
    room = len(data) - at - 8 * len(listed)
    return Saved(LEGACY, parts[3], [*names], made, None, room)


def is_pickle(path: str | os.PathLike) -> bool:
    """Whether a file begins as a pickle of protocol 2 to 5."""
    with open(path, "rb") as file:
        begin = file.read(2)
    return len(begin) == 2 and begin[0] == 0x80 and 2 <= begin[1] <= 5
