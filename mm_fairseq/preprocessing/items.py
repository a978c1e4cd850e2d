"""One modality of one utterance, as it is stored in its stream.

T samples (audio), tokens (text), bytes (video) or frames (features that the corpus brings).
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..databin import pack_frames
from ..databin.format import frame_sizes
from ..errors import MMFairseqError
from ..manifest import MODALITIES, TEXT_ASR, Medium, Utterance
from ..media import MAX_SECONDS, MediaError, read_through
from ..media.audio import read_audio
from ..media.bounds import UNFORESEEN
from ..media.child import Call, Child, Direct
from ..media.clip import read_clip
from ..media.dictionary import TokenIds
from ..media.faces import FRAME_BYTES
from ..media.features import read_features

SAMPLE_RATE = 16000  # Hz
MIN_SAMPLES = 400  # 25 ms, one window of a spectrum: no backbone makes anything of less

# What decoders say of a file that could not be read as well as of a damaged one
_DOUBTFUL = {"unreadable", "truncated", "corrupt", "empty", "span_outside", "crashed", "timeout"}
_PICTURES = 1 << 28  # bytes of them, for which the usual memory is enough
_LARGEST = 1 << 30  # bytes that the largest clip may need at once
_AHEAD = 16  # utterances that are announced to who decodes

_NOTHING = {
    "audio": "neither audio nor video is given; other utterances have it",
    "video": "no video is given; other utterances have it",
}


def packed(read: Callable[..., list[bytes]], *args: Any) -> np.ndarray:
    """The pictures of a clip that `read` gives, or that its `MediaError` keeps, as they are stored."""
    try:
        return pack_frames(read(*args))
    except MediaError as error:
        if error.kept:
            error.kept = pack_frames(error.kept[0]), error.kept[1]
        raise


READERS: dict[str, Callable[..., Any]] = {
    "sound": read_audio,
    "clip": partial(packed, read_clip),
    "features": read_features,
}


class Form(NamedTuple):
    """How a stream is stored.

    Args:
        dtype: of its elements.
        dim: D of items [T, D]; 0 for items [T].
        told: whether an item's length is told (frames).
        unit: of the length.
    """

    dtype: str
    dim: int
    told: bool
    unit: str


RAW = {
    "audio": Form("int16", 0, False, "samples"),
    "text": Form("int32", 0, False, "tokens"),
    TEXT_ASR: Form("int32", 0, False, "tokens"),
    "video": Form("uint8", 0, True, "frames"),
}


def feature_form(dim: int) -> Form:
    """Of a stream of features [T, D]."""
    return Form("float32", dim, False, "frames")


# Of numbers in `Settings`, the least and the most
RANGES = {"vocab_size": (8, 1e6), "fps": (0.01, 1000), "frame_size": (8, 4096), "max_seconds": (0.1, 1e6)}


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of a data-bin, beside the corpus.

    Args:
        modalities: which ones are wanted.
        tokenizer: see `media.text.tokenizer_files`.
        vocab_size: of a sentencepiece model trained here.
        fps: frames a second kept.
        frame_size: side of a frame in pixels.
        faces: "detect", "center" or "none", see `media.faces.face_crops`.
        max_seconds: of the longest utterance.
        shard_size: utterances in a shard; None chooses by the size of the corpus.
        follow_links: whether recordings are read through links that lead out of the corpus's folder.
    """

    modalities: tuple[str, ...] = MODALITIES
    tokenizer: str = "sentencepiece"
    vocab_size: int = 1000
    fps: float = 5.0
    frame_size: int = 256
    faces: str = "detect"
    max_seconds: float = MAX_SECONDS
    shard_size: int | None = None
    follow_links: bool = False

    def for_rows(self, rows: int) -> "Settings":
        """With a shard size: small enough that some workers share a small corpus, 8 to 256."""
        return replace(self, shard_size=self.shard_size or min(256, max(8, -(-rows // 32))))

    @property
    def scale(self) -> float:
        """How many times the usual memory an utterance may take: all of its pictures, compressed, are held at once."""
        pictures = FRAME_BYTES * max(1.0, self.frame_size / 256) ** 2 * self.fps * self.max_seconds
        return max(1.0, self.max_seconds / MAX_SECONDS, pictures / _PICTURES)


class Items:
    """Makes the items of utterances; every fault of theirs is a `MediaError`.

    Args:
        root: the folder that the manifest's paths are relative to.
        settings: how items are made.
        texts: gives what makes numbers of a text, when the first one comes.
        dims: stream to D, where the corpus brings features [T, D] of it.
        read: calls `READERS`; where they are called where None.
    """

    def __init__(
        self,
        root: Path,
        settings: Settings,
        texts: Callable[[], TokenIds] | None = None,
        dims: Mapping[str, int] | None = None,
        read: Child | Direct | None = None,
    ) -> None:
        self.root, self.settings, self._texts = root, settings, texts
        self.dims, self._read = dict(dims or {}), read or Direct(READERS)
        self._real = lru_cache(4096)(os.path.realpath)

    def ahead(self, rows: Sequence[Utterance], streams: Iterable[str]) -> Iterator[Utterance]:
        """The rows, whose recordings are decoded while earlier ones are asked for by `make`, stream by stream."""
        for first in range(0, len(rows), _AHEAD):
            part = rows[first : first + _AHEAD]
            calls = (self._call(stream, row) for row in part for stream in streams)
            self._read.expect(call for call in calls if call and not self._outside(call[1]))
            yield from part

    def make(self, stream: str, row: Utterance) -> tuple[np.ndarray, int]:
        """The item and its length in samples, tokens or frames.

        Raises:
            MediaError: there is none, or it cannot be used; or it can, but something is to be said (`kept`).
            MMFairseqError: no utterance is to blame.
            OSError: the machine, its disk or its network is: a file is set aside only if the system reads it to its end
                and it fails twice.
        """
        try:
            return self._make(stream, row)
        except MediaError as error:
            path = self.path(stream, row)
            if error.code == "out_of_memory":
                self._read.close()  # what earlier recordings left in that process counted, too
            elif error.code not in _DOUBTFUL or error.kept or not path:
                raise
            else:
                read_through(self.root / path)
        return self._make(stream, row)

    def _make(self, stream: str, row: Utterance) -> tuple[np.ndarray, int]:
        makers: dict[str, Callable[[Utterance], tuple[np.ndarray, int]]]
        makers = {"audio": self._audio, "text": self._text, "video": self._video, TEXT_ASR: self._text_asr}
        try:
            return self._features(stream, row) if stream in self.dims else makers[stream](row)
        except MediaError as error:
            if error.code == "out_of_memory":
                _check_memory()
            raise
        except MMFairseqError:
            raise
        except UNFORESEEN as error:
            reason = f"{self.path(stream, row)}: the decoder failed: {type(error).__name__}: {error}"
            raise MediaError("unreadable", reason) from error

    def _call(self, stream: str, row: Utterance) -> Call | None:
        """What is to be read for an item, in the words of `READERS`; None where nothing is."""
        path, settings = os.path.join(self.root, self.path(stream, row)), self.settings
        if stream in self.dims:
            return ("features", path, stream) if row.features else None
        if stream == "audio" and (medium := _sound(row)):
            return "sound", path, medium.start, medium.end, SAMPLE_RATE, settings.max_seconds
        if stream == "video" and (medium := row.medium("video")):
            shape = settings.fps, medium.region, settings.max_seconds, settings.frame_size, settings.faces
            return "clip", path, medium.start, medium.end, *shape
        return None

    def _result(self, stream: str, row: Utterance) -> Any:
        """What was read.

        Raises:
            MediaError: also empty_audio, empty_video and so on, where there is nothing to read, and outside_root.
        """
        if (call := self._call(stream, row)) is None:
            told = f"no features of {stream} are given; other utterances have them"
            raise MediaError(f"empty_{stream}", told if stream in self.dims else _NOTHING[stream])
        if place := self._outside(call[1]):
            raise MediaError(
                "outside_root",
                f"{call[1]}: a link to {place}, which is not in {self.root}; if that is meant, allow it with "
                "--follow-links, or prepare the corpus where its recordings are",
            )
        return self._read(*call)

    def _outside(self, path: str) -> str:
        """Where links lead that lead out of the root; "" where none does."""
        if self.settings.follow_links:
            return ""
        place = os.path.realpath(path) if os.path.islink(path) else self._real(os.path.dirname(path))
        return "" if os.path.join(place, "").startswith(os.path.join(self._real(self.root), "")) else place

    def path(self, stream: str, row: Utterance) -> str:
        """Which file of the manifest an item comes from; "" where it comes from none."""
        if stream in self.dims:
            return row.features
        medium = None if stream in ("text", TEXT_ASR) else _sound(row) if stream == "audio" else row.medium("video")
        return medium.path if medium else ""

    @cached_property
    def _ids(self) -> TokenIds:
        assert self._texts is not None
        return self._texts()

    def _audio(self, row: Utterance) -> tuple[np.ndarray, int]:
        samples = self._result("audio", row)
        if len(samples) < MIN_SAMPLES:
            raise MediaError(
                "too_short", f"{len(samples)} samples at {SAMPLE_RATE} Hz; at least {MIN_SAMPLES} are needed"
            )
        return samples, len(samples)

    def _text(self, row: Utterance) -> tuple[np.ndarray, int]:
        ids = self._ids(row.text) if row.text.strip() else np.empty(0, np.int32)
        if not len(ids):
            raise MediaError("empty_transcript", f"no words in the transcript {row.text!r}; other utterances have some")
        return ids, len(ids)

    def _text_asr(self, row: Utterance) -> tuple[np.ndarray, int]:
        """What a recogniser made of it; to hear nothing is no fault of the data."""
        text = row.labels.get(TEXT_ASR, "")
        ids = self._ids(text) if text.strip() else np.empty(0, np.int32)
        return ids, len(ids)

    def _features(self, stream: str, row: Utterance) -> tuple[np.ndarray, int]:
        x = self._result(stream, row)
        if x.shape[1] != self.dims[stream]:
            path, dim = self.root / row.features, self.dims[stream]
            raise MediaError("other_width", f"{path}: {stream}: {x.shape[1]} features a frame, most others have {dim}")
        return x, len(x)

    def _video(self, row: Utterance) -> tuple[np.ndarray, int]:
        packed = self._result("video", row)
        return packed, len(frame_sizes(packed))


def _check_memory() -> None:
    """See that a decoder's want of memory is the file's, not the machine's.

    Raises:
        OSError: the machine has not what the largest clip needs.
    """
    try:
        np.empty(_LARGEST, np.uint8)
    except MemoryError:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from None


def _sound(row: Utterance) -> Medium | None:
    return row.medium("audio") or row.medium("video")
