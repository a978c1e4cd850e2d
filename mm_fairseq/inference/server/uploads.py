"""Forms with files: read as they come, files to a private folder, and never more than is allowed."""

import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from .limits import MEGABYTE, Limits, Refused

FILES = ("clip", "audio", "features")
_PARTS = 32
_FIELD_BYTES = MEGABYTE // 16
_ROOM = MEGABYTE  # for what is around the parts
_NAME = 100  # characters of a file's name that are kept
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}")


@dataclass
class Form:
    """What came with a request.

    Args:
        folder: where its files lie until it is answered.
        fields: name to texts, in their order.
        files: part to file.
        names: part to the name that the file had where it comes from.
        size: of all files, in bytes.
        kept: whether the files stay when the request is answered, until `Uploads.release`.
    """

    folder: Path
    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    size: int = 0
    kept: bool = False

    @property
    def name(self) -> str:
        """What the request is called in answers: by the first of its files."""
        return next((self.names[part] or part for part in FILES if part in self.names), "")

    def told(self, message: str) -> str:
        """A message with the names that files had where they come from, and without folders of this machine."""
        for part, path in self.files.items():
            message = message.replace(str(path), self.names[part] or part)
        return message.replace(f"{self.folder}{os.sep}", "")


class Uploads:
    """Takes the forms of requests, and counts the bytes of all.

    Args:
        folder: private, for files.
        limits: of the server.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits, self.held = folder, limits, 0

    @asynccontextmanager
    async def form(self, request: Request, fields: dict[str, int]) -> AsyncIterator["Form"]:
        """Read the form of a request; its files are there as long as the block, unless they are `kept`.

        Args:
            request: with the form.
            fields: name of each text that is taken to the most bytes of it; 0 for the usual.

        Raises:
            Refused: not_multipart, bad_form, bad_field, too_large, busy, no_space, or left.
        """
        form = Form(self.folder / secrets.token_hex(8))
        reading = _Reading(form, fields, self)
        try:
            await reading.run(request)
            yield form
        except ClientDisconnect:
            raise Refused(499, "left", "the client has left") from None
        finally:
            reading.close()
            if not form.kept:
                self.release(form)

    def release(self, form: Form) -> None:
        """Remove the files of a form."""
        self.held -= form.size
        form.size = 0
        shutil.rmtree(form.folder, ignore_errors=True)


class _Reading:
    """One form while it comes in."""

    def __init__(self, form: Form, fields: dict[str, int], uploads: Uploads) -> None:
        self.form, self.fields, self.uploads = form, fields, uploads
        self.parts = 0
        self._file: BinaryIO | None = None
        self._begin()

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    async def run(self, request: Request) -> None:
        most = self.uploads.limits.upload_bytes + sum(max(size, _FIELD_BYTES) for size in self.fields.values()) + _ROOM
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refused(415, "not_multipart", "send a form: Content-Type multipart/form-data, with a boundary")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise self._too_large()
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        seen, self._whole = 0, False
        try:
            self.form.folder.mkdir(mode=0o700)
            parser = MultipartParser(options[b"boundary"], callbacks)
            async for chunk in request.stream():
                seen += len(chunk)
                if seen > most:
                    raise self._too_large()
                parser.write(chunk)
            parser.finalize()
        except FormParserError as error:
            raise Refused(422, "bad_form", f"not a form of multipart/form-data: {error}") from error
        except OSError as error:
            raise Refused(503, "no_space", "the server has no room for the file now", again=30) from error
        if not self._whole:
            raise Refused(422, "bad_form", "the form ends before its last part does")

    def _too_large(self) -> Refused:
        megabytes = self.uploads.limits.upload_bytes / MEGABYTE
        return Refused(413, "too_large", f"more than {megabytes:g} MB; send a shorter or smaller recording")

    def _begin(self) -> None:
        self._header_bytes = {b"name": bytearray(), b"value": bytearray()}
        self._disposition, self._part, self._text = b"", "", bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_bytes[b"name"] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_bytes[b"value"] += data[start:end]

    def _header(self) -> None:
        if bytes(self._header_bytes[b"name"]).lower() == b"content-disposition":
            self._disposition = bytes(self._header_bytes[b"value"])
        self._header_bytes = {b"name": bytearray(), b"value": bytearray()}

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        self.parts += 1
        if self.parts > _PARTS:
            raise Refused(422, "bad_form", f"more than {_PARTS} parts")
        known = [*FILES, *self.fields]
        if self._part not in known:
            raise Refused(422, "bad_field", f"part {self._part[:_NAME]!r}: known are {', '.join(known)}")
        if self._part not in FILES:
            return
        if b"filename" not in options:
            raise Refused(422, "bad_field", f"{self._part}: send it as a file, with a file name")
        name = _plain(options[b"filename"].decode("utf-8", "replace"))
        if self._part in self.form.files:
            raise Refused(422, "bad_field", f"{self._part}: two files; one request is about one clip")
        ending = os.path.splitext(name)[1]
        path = self.form.folder / f"{self._part}{ending if _ENDING.fullmatch(ending) else ''}"
        self.form.files[self._part], self.form.names[self._part] = path, name
        self._file = open(path, "wb")  # noqa: SIM115

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece, limits = data[start:end], self.uploads.limits
        if self._file is None:
            self._text += piece
            before = sum(map(len, self.form.fields.get(self._part, ())))
            if before + len(self._text) > (most := self.fields[self._part] or _FIELD_BYTES):
                raise Refused(413, "too_large", f"{self._part}: more than {most} bytes")
            return
        self.form.size += len(piece)
        self.uploads.held += len(piece)
        if self.form.size > limits.upload_bytes:
            raise self._too_large()
        if self.uploads.held > limits.held_bytes:
            raise Refused(429, "busy", "the server holds as many files as it may; try again soon", again=5)
        self._file.write(piece)

    def _end(self) -> None:
        if self._file is not None:
            nothing = not self._file.tell() and not self.form.names[self._part]
            self.close()
            if nothing:  # what a page sends where no file was chosen
                del self.form.files[self._part], self.form.names[self._part]
            return
        try:
            text = self._text.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(422, "bad_field", f"{self._part}: not text in UTF-8") from None
        self.form.fields.setdefault(self._part, []).append(text)

    def _finish(self) -> None:
        self._whole = True


def _plain(name: str) -> str:
    """The last part of a file's name, without what a terminal would act on."""
    name = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in name if letter.isprintable())[-_NAME:].strip()
