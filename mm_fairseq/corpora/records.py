"""Records of a csv or tsv file, with the lines that they begin in."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MMFairseqError, named
from .recordings import POINTER, archive_hint, is_pointer

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|"}


@dataclass
class Record:
    """One record: {column: text as it stands}."""

    line: int
    fields: dict[str, str]


def read_utf8(file: Path) -> str:
    """The text of a file, without a mark.

    Raises:
        MMFairseqError: it is missing, a folder, a git-lfs pointer, an archive or not UTF-8; names the line.
    """
    if file.is_dir():
        raise MMFairseqError(f"{file}: is a folder; give the file{archive_hint(file)}")
    if not file.is_file():
        raise MMFairseqError(f"{file}: no such file{archive_hint(file)}")
    if is_pointer(file):
        raise MMFairseqError(f"{file}: {POINTER}")
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if hint := archive_hint(file):
            raise MMFairseqError(f"{file}: no text{hint}") from None
        line = error.object.count(b"\n", 0, error.start) + 1
        raise MMFairseqError(
            f"{file}:{line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def read_table(file: Path, delimiter: str = "auto", text: str | None = None) -> tuple[list[str], list[Record]]:
    """Header and records of a csv or tsv file. Records without any content are passed over.

    Args:
        file: the table.
        delimiter: a name of `DELIMITERS`, or "auto".
        text: what the file holds, where the caller has decoded it.

    Raises:
        MMFairseqError: the file is missing, a git-lfs pointer or not UTF-8, or a record has another number of fields
            than the header.
    """
    text = read_utf8(file) if text is None else text
    sign = DELIMITERS.get(delimiter) or _guess(file, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    header: list[str] = []
    records, line = [], 1
    try:
        for fields in reader:
            begin, line = line, reader.line_num + 1
            if not any(value.strip() for value in fields):
                continue
            if not header:
                header = [value.strip() for value in fields]
                continue
            if len(fields) != len(header) or (sign == "\t" and any("\t" in value for value in fields)):
                raise MMFairseqError(
                    f"{file}:{begin}: {len(fields)} fields, the header has {len(header)}; delimiter {sign!r}; "
                    "a field that holds it must be in quotation marks, and each quotation mark must be closed"
                )
            records.append(Record(begin, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise MMFairseqError(
            f"{file}:{line}: {error}; a quotation mark inside a quoted field is written twice, and each must be closed"
        ) from None
    if not records:
        raise MMFairseqError(f"{file}: holds no records")
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise MMFairseqError(f"{file}:1: column {named(twice)} stands twice in the header")
    return header, records


def read_columns(file: Path, columns: Sequence[str], delimiter: str = "auto", text: str | None = None) -> list[Record]:
    """Records of a table that has at least these columns; arguments as `read_table`.

    Raises:
        MMFairseqError: as `read_table`, or `file:1`: a column is missing.
    """
    header, records = read_table(file, delimiter, text)
    if missing := [column for column in columns if column not in header]:
        raise MMFairseqError(f"{file}:1: no column {missing[0]!r}; columns: {', '.join(map(repr, header))}")
    return records


def _guess(file: Path, text: str) -> str:
    if file.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    header = text.lstrip().split("\n", 1)[0]
    return max(DELIMITERS.values(), key=header.count)
