"""Checkpoints of trainings: each appears whole or not at all, has its checksum beside it, and is checked when read.

`NAME.pt.sha256` is what `sha256sum NAME.pt` prints. While a checkpoint is replaced it holds a line of the old one and
one of the new one, so that either is right if the writer is killed between the two files; each further kill there
leaves one line more.
"""

import hashlib
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from .atomic import hidden, open_atomic
from .errors import MMFairseqError, named
from .untrusted import BROKEN_ZIP, check_checkpoint

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"
SUM = ".sha256"
DAMAGED = ".damaged"
BLOCK = 2**20  # bytes
SHOWN = 5  # names in a message
_NAME = r"checkpoint(\d+|_\d+_\d+|_best|\.best_.+_-?\d+\.\d+)"  # of fairseq, beside the last one
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Found(NamedTuple):
    """The checkpoint to go on from, None where none is whole, and why others were passed over: name to reason."""

    path: Path | None
    skipped: dict[str, str]


class _Summed:
    """A file to write to that knows the SHA-256 of what went through it; or is told it."""

    def __init__(self, file: IO[bytes], told: str) -> None:
        self.file, self.told, self.digest = file, told, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if not self.told:
            self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error  # torch raises one of its own in its place, which tells nothing of the disk
            raise

    def flush(self) -> None:
        self.file.flush()


def last_in(folder: str | os.PathLike, suffix: str = "") -> Path:
    """The checkpoint that a training writes last; `suffix` is --checkpoint-suffix."""
    last = Path(folder, LAST)
    return last.with_stem(last.stem + suffix)


def names_in(folder: Path) -> list[str]:
    """Of the checkpoints of a training's folder, the last and the best first, then the newest; none elsewhere."""
    paths = sorted(folder.glob("checkpoint*.pt"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    first = sorted(paths, key=lambda path: not path.stem.startswith(("checkpoint_last", "checkpoint_best")))
    return [path.name for path in first]


def sum_file(path: Path) -> Path:
    """Where the checksum of a checkpoint is."""
    return path.with_name(path.name + SUM)


def save(state: Any, path: str | os.PathLike) -> None:
    """Write what `torch.load` reads; killed at any moment, the old one or the new one is there, whole.

    Raises:
        MMFairseqError: the disk does not take it; the old one is still there.
    """
    with _replacing(Path(path)) as file:
        torch.save(state, file)


def copy(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy a checkpoint to another name, as `save` writes it. A link would have both damaged by one bad block.

    The checksum is taken over, so that it tells what should be there.

    Raises:
        MMFairseqError: the source cannot be opened or is damaged, or the disk does not take it.
    """
    known = _sums(Path(source))
    try:
        old = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise MMFairseqError(f"{source}: cannot be copied to {target}: {error.strerror}") from error
    with old, _replacing(Path(target), known[0] if len(known) == 1 else "") as file:
        shutil.copyfileobj(old, file, BLOCK)  # type: ignore[misc]
        if len(known) > 1 and file.digest.hexdigest() not in known:
            raise MMFairseqError(f"{source}: not copied to {target}: it does not have its checksum")


@contextmanager
def _replacing(path: Path, told: str = "") -> Iterator[Any]:
    file, placed = None, False
    try:
        with open_atomic(path) as plain:
            file = _Summed(plain, told)
            yield file
            digest = told or file.digest.hexdigest()
            if path.is_file() and (known := _sums(path)):
                _write_sums(path, [*known, digest])
        placed = True
        _write_sums(path, [digest])
    except (OSError, RuntimeError) as error:
        fault = file.error if file is not None and file.error else error
        if not isinstance(fault, OSError):
            raise
        free = shutil.disk_usage(path.parent).free / 1e9
        what = f"{path}: saved, but not its checksum" if placed else f"{path}: not saved"
        kept = "" if placed else "; what was saved before is kept"
        told = f"{fault.strerror or fault}; the disk of {path.parent} has {free:.3f} GB left"
        raise MMFairseqError(f"{what}: {told}{kept}") from error


def _write_sums(path: Path, digests: list[str]) -> None:
    """Not flushed to the disk: where the machine's power fails, the checksums within the checkpoint are left."""
    place = hidden(sum_file(path))
    try:
        place.write_text("".join(f"{digest}  {path.name}\n" for digest in digests), encoding="utf-8")
        place.replace(sum_file(path))
    except OSError:
        place.unlink(missing_ok=True)
        raise


def _sums(path: Path) -> list[str]:
    """The checksums that the checkpoint may have; none where they were not written, or are not readable."""
    try:
        lines = sum_file(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line[:64] for line in lines if _DIGEST.fullmatch(line[:64])]


def damage(path: Path) -> str:
    """What is wrong with a checkpoint's bytes; "" for a whole one.

    A file whose checksum is right is whole. Where there is none, or it is of another file (somebody has put a
    checkpoint in this one's place; that is logged), torch's own checksums of each part within decide.
    """
    fault, differs = _examined(path)
    if differs and not fault:
        logger.warning("%s: not the file that %s was written for, but whole by itself", path, sum_file(path).name)
    return fault


def _examined(path: Path) -> tuple[str, bool]:
    """As `damage`, and whether there is a checksum beside the file which is that of other bytes."""
    try:
        if not path.stat().st_size:
            return "empty", False
        known = _sums(path)
        if not known:
            return _broken_part(path), False
        with open(path, "rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() in known
        return ("", False) if same else (_broken_part(path), True)
    except OSError as error:
        return error.strerror or str(error), False


def _broken_part(path: Path) -> str:
    """By the checksums in the zip archive that `torch.save` writes; files in torch's old form have none."""
    with open(path, "rb") as file:
        begin = file.read(4)
    if begin[:2] != b"PK":
        return "" if begin[:1] == b"\x80" and not _sums(path) else "its first bytes are not those of a checkpoint"
    try:
        with zipfile.ZipFile(path) as archive:
            if odd := [each.filename for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]:
                return f"{odd[0]} in it is compressed, which torch does not write"
            bad = archive.testzip()
    except BROKEN_ZIP as error:
        return f"cut short or overwritten ({error})"
    return f"{bad} in it does not have its checksum" if bad else ""


def updates(path: Path) -> int:
    """How many updates of a training its checkpoint has seen.

    Raises:
        MMFairseqError: it is not readable, or not the state of a training.
    """
    state = _read(path)
    try:
        return int(state["optimizer_history"][-1]["num_updates"])
    except (LookupError, TypeError, ValueError) as error:
        raise MMFairseqError(f"{path}: not the state of a training ({error!r})") from error


def newest(last: Path) -> Found:
    """The checkpoint to go on from: the last one where it is whole, else of those beside it the one of most updates.

    Args:
        last: path of `checkpoint_last.pt`, or with --checkpoint-suffix between name and ending, which those beside it
            must have too; where there is no such file, no training was begun.
    """
    if not last.is_file():
        return Found(None, {})
    if not (fault := damage(last)):
        return Found(last, {})
    skipped, places = {last.name: fault}, []
    name = re.compile(_NAME + re.escape(last.name.removeprefix(Path(LAST).stem)))
    for path in last.parent.iterdir():
        if name.fullmatch(path.name):
            try:
                places.append((updates(path), path.stat().st_mtime_ns, path))
            except (MMFairseqError, OSError) as error:
                skipped[path.name] = str(error).removeprefix(f"{path}: ")
    for *_, path in sorted(places, reverse=True):
        if not (fault := damage(path)):
            return Found(path, skipped)
        skipped[path.name] = fault
    return Found(None, skipped)


def set_aside(path: Path) -> Path:
    """Give a damaged checkpoint another name, so that a new training does not take it for its own; returns that."""
    aside = path.with_name(path.name + DAMAGED)
    path.replace(aside)
    sum_file(path).unlink(missing_ok=True)
    return aside


def tidy(folder: Path) -> None:
    """Remove what killed writers left in the folder of a training, and old checksums. Only who holds it may."""
    for left in folder.glob(".checkpoint*.tmp"):
        left.unlink(missing_ok=True)
    remove_old_sums(folder)


def remove_old_sums(folder: Path) -> None:
    """Remove checksums whose checkpoint is gone; other processes may write checkpoints there meanwhile."""
    for left in folder.glob(f"checkpoint*.pt{SUM}"):
        if not left.with_name(left.name.removesuffix(SUM)).exists():
            left.unlink(missing_ok=True)


def check(path: str | os.PathLike) -> list[str]:
    """Everything that is wrong with a checkpoint, in words; empty for a whole one.

    Looked at are its bytes (checksum beside it and those within), whether it can be loaded with plain types only, and
    whether all weights are finite numbers. Nothing of it is executed.
    """
    path = Path(path)
    if not path.is_file():
        return [f"{path}: no such file"]
    fault, differs = _examined(path)
    if fault:
        return [f"{path}: {fault}"]
    faults = [f"{path}: not the file that {sum_file(path).name} was written for"] if differs else []
    try:
        weights = _read(path).get("model")
    except MMFairseqError as error:
        return [*faults, str(error)]
    if not isinstance(weights, dict):
        return [*faults, f"{path}: not the checkpoint of a training (no weights under `model`)"]
    wrong = [str(name) for name, value in weights.items() if isinstance(value, torch.Tensor) and not _finite(value)]
    if wrong:
        faults.append(f"{path}: weights that are not finite numbers: {named(wrong, SHOWN)}")
    return faults


def _finite(value: torch.Tensor) -> bool:
    """Whether all numbers are; in one pass, and but for numbers of a byte without a copy."""
    if not value.is_floating_point() or not value.numel():
        return True
    value = value.float() if value.itemsize == 1 else value  # torch finds no extremes of these
    return bool(torch.stack(torch.aminmax(value)).isfinite().all())


def _read(path: Path) -> dict[str, Any]:
    """What is in a file, its tensors mapped and not read.

    Raises:
        MMFairseqError: it is not readable, or holds more than plain types.
    """
    check_checkpoint(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises a dozen kinds for broken files
        told = str(error).strip().partition("\n")[0][:200]
        raise MMFairseqError(f"{path}: cannot be loaded ({type(error).__name__}: {told})") from error
    if not isinstance(state, dict):
        raise MMFairseqError(f"{path}: expected a dictionary, found {type(state).__name__}")
    return state
