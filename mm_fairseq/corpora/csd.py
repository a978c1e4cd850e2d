"""Computational sequences (`.csd`) of the CMU-MultimodalSDK: HDF5 files, read here for their labels.

One group named after the sequence (`All Labels` of CMU-MOSEI, `Opinion Segment Labels` of CMU-MOSI), in it `data` with
a group for each video: `features` [N, D] and `intervals` [N, 2], seconds; and `metadata`, of which `dimension names`
may name the D columns. Aligned files have a group for each segment instead, `<video>[<number from 0>]`. The form was
read off the SDK's `file_ops.py` (github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).

N segments, D values.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError, named
from .recordings import fault

LARGEST = 1 << 24  # values of one video

_ALIGNED = re.compile(r"(.+)\[(\d+)\]", re.DOTALL)


@dataclass(frozen=True)
class Segment:
    """A labelled part of a video: where it is written, its number from 0, seconds, and its values by name."""

    place: str
    number: int
    start: float
    end: float
    values: dict[str, float]


def read_csd(file: Path, sequence: str, columns: Sequence[str]) -> dict[str, list[Segment]]:
    """{video: segments in the order of the file}, videos sorted.

    Args:
        file: the `.csd`.
        sequence: the name of the sequence.
        columns: what the D values are; in another order where the file names just these in another order.

    Raises:
        MMFairseqError: h5py is missing, or the file is no such sequence; names file, video and row.
    """
    try:
        import h5py
    except ImportError as error:
        raise MMFairseqError(f"{file}: labels in HDF5: pip install 'mm-fairseq[hdf5]' ({error})") from error
    if not file.is_file():
        raise MMFairseqError(f"{file}: no such file")
    if reason := fault(file):
        raise MMFairseqError(f"{file}: {reason}")
    try:
        with h5py.File(file, "r") as content:
            return _videos(file, content, sequence, columns)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise MMFairseqError(f"{file}: no HDF5 file, or one that was cut off or damaged: {error}") from error


def _videos(file: Path, content: Any, sequence: str, columns: Sequence[str]) -> dict[str, list[Segment]]:
    if sequence not in content or not hasattr(content[sequence], "keys") or "data" not in content[sequence]:
        raise MMFairseqError(
            f"{file}: no sequence {sequence!r} with 'data' in it; it has {named([repr(name) for name in content])}"
        )
    names = _names(content[sequence], columns)
    videos: dict[str, list[Segment]] = {}
    for key in sorted(content[sequence]["data"]):
        match = _ALIGNED.fullmatch(key)
        video, first = content[sequence]["data"][key], int(match[2]) if match else 0
        rows = _segments(file, f"{file}: {key!r}", video, names, first)
        if match and len(rows) != 1:
            raise MMFairseqError(f"{file}: {key!r}: {len(rows)} rows; a segment of an aligned file has one")
        videos.setdefault(match[1] if match else key, []).extend(rows)
    if not videos:
        raise MMFairseqError(f"{file}: {sequence!r} holds no videos")
    for video, segments in videos.items():
        segments.sort(key=lambda segment: segment.number)
        numbers = [segment.number for segment in segments]
        if len(set(numbers)) != len(numbers):
            raise MMFairseqError(f"{file}: {video!r}: two segments of one number")
    return dict(sorted(videos.items()))


def _names(sequence: Any, columns: Sequence[str]) -> list[str]:
    """The names of the values in the order of the file."""
    try:
        told = json.loads(sequence["metadata"]["dimension names"].asstr()[0])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return list(columns)
    known = isinstance(told, list) and all(isinstance(name, str) for name in told)
    return told if known and sorted(told) == sorted(columns) else list(columns)


def _segments(file: Path, place: str, video: Any, names: Sequence[str], first: int) -> list[Segment]:
    arrays = {}
    for key, width in (("features", len(names)), ("intervals", 2)):
        array = video[key] if hasattr(video, "keys") and key in video else None
        shape = getattr(array, "shape", None)
        if array is None or shape is None or array.dtype.kind not in "fiu":
            raise MMFairseqError(f"{place}: no numbers named {key!r}")
        if array.external or array.is_virtual or Path(array.file.filename) != file:
            raise MMFairseqError(f"{place}: {key!r} stands in another file, and only this one is read")
        if len(shape) != 2 or shape[1] != width or array.size > LARGEST:
            what = f"{width} columns ({', '.join(names)})" if key == "features" else "start and end in seconds"
            raise MMFairseqError(f"{place}: {key!r} has the shape {shape}; expected {what} a segment")
        arrays[key] = np.asarray(array[()], np.float64)
    values, times = arrays["features"], arrays["intervals"]
    if len(values) != len(times):
        raise MMFairseqError(f"{place}: {len(values)} rows of 'features', {len(times)} of 'intervals'")
    segments = []
    for row in range(len(values)):
        start, end = (float(time) for time in times[row])
        if not (math.isfinite(start) and math.isfinite(end)):
            raise MMFairseqError(f"{place} row {row}: from {start} s to {end} s is no interval")
        named_values = dict(zip(names, map(float, values[row]), strict=True))
        segments.append(Segment(f"{place} row {row}", first + row, start, end, named_values))
    return segments
