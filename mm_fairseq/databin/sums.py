"""`SHA256SUMS`: sizes and checksums of the files below a folder, in the form that `sha256sum --check` reads.

Before each line of that form stands a comment with the size of the file, by which a plain open finds what was cut
short. The last line is a comment with the checksum of all lines above it.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..atomic import open_atomic, write_atomic
from ..errors import MMFairseqError

NAME = "SHA256SUMS"
SPARE = "spare"
MEND = "`mm-fairseq verify --repair` mends what can be mended"
ABSENT = (
    "missing: it was deleted, never written (not finished), or made by an older version; `mm-fairseq verify --repair` "
    "writes it where nothing else is broken"
)

_ENTRY = re.compile(rb"# (\d{1,18}) bytes\n(\\?)([0-9a-f]{64})  ([^\n\0]+)\n")
_LAST = re.compile(rb"# sha256 of the lines above: ([0-9a-f]{64})\n\Z")


class Sum(NamedTuple):
    """What is known of a file: its size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "Sum":
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> "Sum":
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(os.fstat(file.fileno()).st_size, digest)


def write(folder: Path, entries: Mapping[str, Sum]) -> None:
    """Write the file.

    Args:
        folder: where it is put.
        entries: by path, relative to the folder.
    """
    lines = b"".join(_line(os.fsencode(name), entry) for name, entry in sorted(entries.items()))
    last = f"# sha256 of the lines above: {hashlib.sha256(lines).hexdigest()}\n"
    write_atomic(folder / NAME, lines + last.encode())


def _line(name: bytes, entry: Sum) -> bytes:
    """As coreutils writes it: a name with a line break or a backslash is escaped, and a backslash stands in front."""
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != name else b""
    return f"# {entry.size} bytes\n".encode() + mark + entry.sha256.encode() + b"  " + escaped + b"\n"


def read(folder: Path) -> dict[str, Sum] | None:
    """What the file says, by path; None where there is none.

    Raises:
        MMFairseqError: it is damaged.
    """
    try:
        entries, whole = parse((folder / NAME).read_bytes())
    except FileNotFoundError:
        return None
    if not whole:
        raise _damaged(folder)
    return entries


def parse(raw: bytes) -> tuple[dict[str, Sum], bool]:
    """The entries that are legible, and whether all of the file is as it was written."""
    return dict(_entries(raw)), _is_whole(raw)


def _is_whole(raw: bytes) -> bool:
    last = _LAST.search(raw)
    return last is not None and hashlib.sha256(raw[: last.start()]).hexdigest().encode() == last[1]


def _entries(raw: bytes) -> Iterator[tuple[str, Sum]]:
    for found in _ENTRY.finditer(raw):
        size, mark, digest, raw_name = found.groups()
        name = os.fsdecode(_plain(raw_name) if mark else raw_name)
        if not os.path.isabs(name) and ".." not in name.split("/"):  # such were never written
            yield name, Sum(int(size), digest.decode())


def _damaged(folder: Path) -> MMFairseqError:
    return MMFairseqError(f"{folder / NAME}: damaged or cut short; {MEND}")


def _plain(name: bytes) -> bytes:
    breaks = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
    return re.sub(rb"\\[\\nr]", lambda found: breaks[found[0]], name)


def check_sizes(folder: Path) -> None:
    """See that no file of the list was cut short; one that is not there is missed by who needs it.

    Raises:
        MMFairseqError: one was, or the list itself is damaged.
    """
    try:
        raw = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return
    if not _is_whole(raw):
        raise _damaged(folder)
    for name, entry in _entries(raw):
        try:
            size = os.stat(f"{folder}/{name}").st_size
        except FileNotFoundError:
            continue
        except OSError as error:
            raise MMFairseqError(f"{folder / name}: {error.strerror}") from error
        if size < entry.size:
            raise MMFairseqError(f"{folder / name}: cut short: {size} bytes, {entry.size} were written; {MEND}")


def seal(folder: Path, names: Iterable[str], known: Mapping[str, Sum], late: Mapping[str, bytes]) -> None:
    """Write the list of a folder, and a copy of each of its small files below `spare/`, by which one can be mended.

    Args:
        folder: with the files.
        names: of small files that are there.
        known: files of which no copy is kept, by path.
        late: contents of small files that are about to be written, by path.
    """
    entries = dict(known)
    for name in names:
        entries[name] = entries[f"{SPARE}/{name}"] = _spare(folder, name)
    for name, content in late.items():
        entries[name] = entries[f"{SPARE}/{name}"] = Sum.of(content)
        (folder / SPARE / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / SPARE / name, content)
    write(folder, entries)


def _spare(folder: Path, name: str) -> Sum:
    own, copy = Sum.of_file(folder / name), folder / SPARE / name
    if not copy.is_file() or Sum.of_file(copy) != own:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open(folder / name, "rb") as file, open_atomic(copy) as out:
            shutil.copyfileobj(file, out)
    return own
