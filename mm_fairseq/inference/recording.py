"""A long recording, decoded block by block and cut into windows, which overlap; only what they still need is held.

Sound is cut out of the samples of a block, and pictures out of those at the frame rate of the training, counted from
the beginning of the span. So a window's sound is that of decoding it alone, up to the edges of resampling; its pictures
are those, up to the neighbouring picture of the file where one begins just when it is wanted, if it begins at a whole
number of frames, else within half a frame. A face is followed through a block, not through each window. A block that
cannot be decoded is tried once more, a second at a time.
"""

import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..databin import pack_frames, unpack_frames
from ..errors import MMFairseqError
from ..manifest import OnDemand
from ..media import MediaError, read_through
from ..media import bounds as media_bounds
from ..media.child import Call, reader
from ..media.extent import read_extent
from ..media.video import MAX_CLIP_BYTES
from ..preprocessing.items import MIN_SAMPLES, SAMPLE_RATE
from .checks import check_number
from .clips import NoModalityError
from .reading import ASKER, DECODERS, ClipReader
from .rows import absolute, check_times

WINDOW, HOP = 5.0, 1.0  # seconds
BLOCK = 60.0
_SHORTEST_BLOCK = 5.0  # where pictures are large
_REST = 0.1  # seconds that are no window of their own
_TAIL = 1.0  # and no block
_AGAIN = 1.0  # seconds of a damaged block that are tried at a time
_HOPELESS = {"timeout", "missing_file"}  # of a block: its parts would not do better
FUNCTIONS = DECODERS | {"extent": read_extent}


class Windows(OnDemand[tuple[float, float]]):
    """Beginning and end in seconds of each window.

    They begin every `hop` seconds until one reaches the end, where it is cut: only the last one is shorter. Less than a
    tenth of a second that is left makes the last one longer instead.

    Args:
        first: where the first one begins, in seconds.
        last: where the recording, or the span of it, ends.
        window: seconds of each.
        hop: seconds from the beginning of one to that of the next.

    Raises:
        MMFairseqError: they would not cover the recording, or there is nothing to cover.
    """

    def __init__(self, first: float, last: float, window: float = WINDOW, hop: float = HOP) -> None:
        if not 0 < hop <= window < math.inf:
            raise MMFairseqError(
                f"a window of {window:g} s every {hop:g} s: the hop must be above 0 and not above the window, or parts "
                "of the recording would be left out"
            )
        if not 0 <= first < last:
            raise MMFairseqError(f"nothing lies between {first:g} s and {last:g} s, the end")
        self.first, self.last, self.window, self.hop = first, last, window, hop

    def __len__(self) -> int:
        return 1 + max(0, math.ceil((self.last - self.first - self.window - _REST) / self.hop))

    def item(self, number: int) -> tuple[float, float]:
        start = round(self.first + number * self.hop, 6)
        return start, self.last if number == len(self) - 1 else round(start + self.window, 6)


@dataclass
class _Piece:
    """Of one modality, between two seconds: elements (samples or pictures), or what is wrong with them, or both."""

    start: float
    end: float
    elements: Any
    fault: MediaError | None = None


class Recording:
    """A long recording on its way into windows. Use it in a `with` block: it has a process that decodes.

    Args:
        clips: how the model's clips are read.
        video: a file; its sound is heard where `audio` is None. One without pictures is heard only.
        audio: a file.
        window: seconds, see `Windows`.
        hop: seconds.
        start: where to begin, in seconds.
        end: where to end; None is the end of the recording.
        without: modalities that the model does not get.

    Attributes:
        windows: all of them.
        ends: modality to where it ends in the file, in seconds.
        faults: modality to what is wrong with the file that was named for it; each window has it as a note.

    Raises:
        NoModalityError: the recording has nothing that the model reads, or cannot be read.
        MMFairseqError: a file of it is not there or no path, windows are too short for the model, or times are none.
    """

    def __init__(
        self,
        clips: ClipReader,
        video: str | os.PathLike | None = None,
        audio: str | os.PathLike | None = None,
        window: float = WINDOW,
        hop: float = HOP,
        *,
        start: float | None = None,
        end: float | None = None,
        without: Collection[str] = (),
    ) -> None:
        check_number("window", window)
        check_number("hop", hop)
        check_times(start, end)
        self._settings, self._first = clips.settings, start or 0.0
        given = {name: file for name, file in (("video", video), ("audio", audio)) if file is not None}
        sources = {name: absolute(name, file) for name, file in given.items()}
        if "video" in sources:
            sources.setdefault("audio", sources["video"])
        wanted = [name for name in clips.modalities if name in sources and name not in without]
        if brought := [name for name in wanted if name in clips.dims]:
            raise MMFairseqError(f"the model reads features of {brought[0]} that a corpus brings, not recordings")
        self._paths = {name: sources[name] for name in wanted}
        scale = replace(self._settings, max_seconds=BLOCK).scale
        self._child = reader(FUNCTIONS, media_bounds.Limits(memory=int(media_bounds.Limits().memory * scale)))
        self._checked = False  # whether the system can read the files
        self.faults: dict[str, MediaError] = {}
        self._cut: set[str] = set()  # paths of files that break off
        try:
            self.ends, pixels = self._extent(len(given) == 2)
            self._check_window(clips, window)
            last = max(self.ends.values()) if end is None else min(end, max(self.ends.values()))
            self.windows = Windows(self._first, last, window, hop)
        except BaseException:
            self.close()
            raise
        self._paths = {name: path for name, path in self._paths.items() if name in self.ends}
        self._block = self._block_seconds(pixels)

    def _extent(self, each_named: bool) -> tuple[dict[str, float], int]:
        """Where each modality ends, and the pixels of a picture. `each_named`: there is a file for each modality."""
        ends: dict[str, float] = {}
        pixels = 0
        for path in dict.fromkeys(self._paths.values()):
            names = [name for name in self._paths if self._paths[name] == path]
            try:
                found = self._child("extent", path)
            except MediaError as error:
                if error.code in ASKER:
                    raise
                self.faults |= dict.fromkeys(names, error)
                continue
            ends |= {name: found[name] for name in names if found[name]}
            pixels = found["pixels"] if "video" in names else pixels
            self._cut |= {path} if found["cut"] else set()
        if not ends:
            told = "; ".join(dict.fromkeys(map(str, self.faults.values())))
            named = ", ".join(dict.fromkeys(self._paths.values())) or "no recording"
            codes = {name: fault.code for name, fault in self.faults.items()}
            raise NoModalityError(told or f"{named}: neither sound nor pictures that the model reads", codes)
        for name, path in self._paths.items() if each_named else ():
            if name not in ends and name not in self.faults:
                self.faults[name] = MediaError(f"no_{name}_track", f"{path}: the file has no {name} track; replace it")
        return ends, pixels

    def _check_window(self, clips: ClipReader, window: float) -> None:
        """Whether the model makes anything of so short a window, of sound or of pictures.

        Raises:
            MMFairseqError: it does not; says what it needs.
        """
        least = {name: clips.limits[name].shortest if name in clips.limits else 1 for name in self.ends}
        least |= {"audio": max(least["audio"], MIN_SAMPLES)} if "audio" in least else {}
        if all(max(1, round(window * self._rate(name))) < count for name, count in least.items()):
            needed = " or ".join(f"{count / self._rate(name):g} s of {name}" for name, count in least.items())
            raise MMFairseqError(f"a window of {window:g} s: the model needs at least {needed}")

    def _block_seconds(self, pixels: int) -> float:
        """So many whole frames that their pictures need not be shrunk to be held at once."""
        if "video" not in self._paths:
            return BLOCK
        fps = self._settings.fps
        seconds = max(_SHORTEST_BLOCK, min(BLOCK, MAX_CLIP_BYTES / (3 * pixels * fps)))
        return max(1, int(seconds * fps)) / fps

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that decodes."""
        self._child.close()

    def cut(self, first: int = 0) -> Iterator[dict[str, tuple[np.ndarray, int] | MediaError]]:
        """Items of the windows as a data-bin stores them, see `Clip.decoded`.

        Args:
            first: number of the window to begin with; blocks lie as if it were 0.

        Raises:
            OSError: the machine is at fault.
        """
        if first >= len(self.windows):
            return
        number = int((self.windows[first][0] - self._first) / self._block + 1e-9)
        held: dict[str, list[_Piece]] = {name: [] for name in self._paths}
        self._announce(number)
        for at in range(first, len(self.windows)):
            start, end = self.windows[at]
            while self._start(number) < end and number < self._blocks:
                for name, pieces in held.items():
                    pieces += self._read(name, number)
                number += 1
                self._announce(number)
            for name in held:
                held[name] = [piece for piece in held[name] if piece.end > start]
            found = {name: self._window(name, pieces, start, end) for name, pieces in held.items()}
            yield {**self.faults, **found}

    @property
    def _blocks(self) -> int:
        return max(1, math.ceil((self.windows.last - self._first - _TAIL) / self._block))

    def _start(self, block: int) -> float:
        return self._first + block * self._block

    def _span(self, name: str, block: int) -> tuple[float, float] | None:
        """Of a block, as far as the track goes; None behind its end."""
        end = self.windows.last if block >= self._blocks - 1 else self._start(block + 1)
        start, end = self._start(block), min(end, self.ends[name])
        return (start, end) if block < self._blocks and start < end else None

    def _announce(self, block: int) -> None:
        """Have a block decoded while the model is at windows of the one before."""
        self._child.expect([self._call(name, *span) for name in self._paths if (span := self._span(name, block))])

    def _call(self, name: str, start: float, end: float) -> Call:
        settings, most = self._settings, self._block + BLOCK
        if name == "audio":
            return "sound", self._paths[name], start, end, SAMPLE_RATE, most
        shape = settings.fps, None, most, settings.frame_size, settings.faces
        return "clip", self._paths[name], start, end, *shape

    def _read(self, name: str, block: int) -> list[_Piece]:
        """What there is of a block; where it is damaged, of each second of it."""
        if (span := self._span(name, block)) is None:
            return []
        piece = self._piece(name, *span)
        if piece.fault is None or len(piece.elements) or piece.fault.code in _HOPELESS:
            return [piece]
        if not self._checked:
            read_through(self._paths[name])  # decoders take a failing disk for a damaged file
            self._checked = True
        if piece.fault.code == "out_of_memory":
            self._child.close()
        step = max(1, round(_AGAIN * self._rate(name))) / self._rate(name)
        count = max(1, math.ceil((span[1] - span[0]) / step - 1e-6))
        starts = [span[0] + step * number for number in range(count)]
        return [self._piece(name, start, min(start + step, span[1])) for start in starts]

    def _piece(self, name: str, start: float, end: float) -> _Piece:
        try:
            found, fault = self._child(*self._call(name, start, end)), None
        except MediaError as error:
            found, fault = error.kept[0] if error.kept else (), error
        return _Piece(start, end, unpack_frames(found) if name == "video" and len(found) else found, fault)

    def _rate(self, name: str) -> float:
        return SAMPLE_RATE if name == "audio" else self._settings.fps

    def _window(self, name: str, pieces: list[_Piece], start: float, end: float) -> tuple[np.ndarray, int] | MediaError:
        """What lies in a window, or why it cannot be used."""
        rate = self._rate(name)
        first, count = round((start - self._first) * rate), max(1, round((end - start) * rate))
        parts, fault = [], None
        for piece in pieces:
            if not (piece.start < end and start < piece.end):
                continue
            if piece.fault is not None and not len(piece.elements):
                return piece.fault
            offset = first - round((piece.start - self._first) * rate)
            part = piece.elements[max(0, offset) : max(0, offset + count)]
            fault = piece.fault if len(part) and piece.fault else fault
            parts.append(part)
        least = MIN_SAMPLES if name == "audio" else 1
        if (held := sum(map(len, parts))) < least:
            told = (
                f"the {name} ends at {self.ends[name]:.3f} s; {held} of at least {least} are left from {start:g} s on"
            )
            return MediaError("too_short", told)
        if self._paths[name] in self._cut and end >= self.ends[name]:
            told = f"{self._paths[name]}: the {name} breaks off at {self.ends[name]:.3f} s: damaged or cut short"
            fault = MediaError("truncated", told)
        item = np.concatenate(parts) if name == "audio" else pack_frames([x.tobytes() for part in parts for x in part])
        return MediaError(fault.code, fault.message, (item, held)) if fault else (item, held)
