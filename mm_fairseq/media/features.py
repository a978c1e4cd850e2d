"""Features that a corpus brings: one array [T, D] a modality in an `.npz` file.

T frames, D features of a frame.
"""

import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from ..manifest import MODALITIES
from . import MediaError, check_file, raise_passing

MAX_BYTES = 1 << 28  # of one array

# What zipfile and numpy were seen to raise, or may, on damaged bytes
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class Shape(NamedTuple):
    """Of one array: T frames of D features."""

    frames: int
    dim: int


def feature_shapes(path: str | os.PathLike) -> dict[str, Shape]:
    """What arrays a file holds, modality to shape, without reading them; others in it do not count.

    Raises:
        MediaError: it is no such file, or an array is not one of numbers [T, D] of believable size.
    """
    path = check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            there = set(archive.namelist())
            for name in MODALITIES:
                if f"{name}.npy" in there:
                    with archive.open(f"{name}.npy") as file:
                        found[name] = _header(path, name, archive.getinfo(f"{name}.npy"), file)  # type: ignore[arg-type]
    except MediaError:
        raise
    except _DAMAGE as error:
        raise_passing(error)
        raise _damaged(path, error) from error
    return found


def read_features(path: str | os.PathLike, name: str) -> np.ndarray:
    """One array of a file.

    Returns:
        Shape (T, D), float32, finite.

    Raises:
        MediaError: the file is damaged, has no such array, or a number in it is not finite.
    """
    path = check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                there = ", ".join(each.removesuffix(".npy") for each in archive.namelist())
                raise MediaError(f"empty_{name}", f"{path}: no array {name!r} in it; it has {there or 'none'}")
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as file:
                _header(path, name, member, file)  # type: ignore[arg-type]
            with archive.open(member) as file:
                found = npy.read_array(file, allow_pickle=False)
    except MediaError:
        raise
    except _DAMAGE as error:
        raise_passing(error)
        raise _damaged(path, error) from error
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(x).all():
        frame, column = (int(each[0]) for each in np.nonzero(~np.isfinite(x)))
        raise MediaError(
            "non_finite", f"{path}: {name}: {found[frame, column]} in frame {frame}, column {column}, both from 0"
        )
    return x


def _header(path: Path, name: str, member: zipfile.ZipInfo, file: BinaryIO) -> Shape:
    """Check what the head of an array says before any memory is taken for it."""
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise MediaError("unreadable", f"{path}: {name}: version {version} of the npy format")
    shape, _, dtype = read(file)
    if dtype.kind not in "fiu" or len(shape) != 2 or min(shape) < 1:
        told = "no numbers" if dtype.kind not in "fiu" else f"shape {shape}"
        raise MediaError(
            "unreadable",
            f"{path}: {name}: {told}; expected numbers of shape (T, D), frames by features",
        )
    size = shape[0] * shape[1] * max(dtype.itemsize, 4)
    if size > MAX_BYTES:
        raise MediaError("too_large", f"{path}: {name}: shape {shape}, {size} bytes; at most {MAX_BYTES} are read")
    if file.tell() + shape[0] * shape[1] * dtype.itemsize != member.file_size:
        raise MediaError("truncated", f"{path}: {name}: {member.file_size} bytes do not hold shape {shape}")
    return Shape(*shape)


def _damaged(path: Path, error: Exception) -> MediaError:
    return MediaError("unreadable", f"{path}: no .npz file, or a damaged one: {type(error).__name__}: {error}")
