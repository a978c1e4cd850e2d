"""Sound: any file that soundfile or PyAV reads, or a span of it, to 16-bit mono.

T samples, C channels.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import soundfile
import soxr

from . import MAX_SECONDS, MediaError, check_file, check_length, check_span, raise_passing
from .bounds import allow_for
from .container import FAILURES, Track
from .ends import is_cut

_BLOCK = 1 << 22  # samples read at a time: a forged header never decides how much memory is taken
_RATES = (1000, 768_000)  # Hz, believable ones
_EXACT = {"PCM_16", "PCM_S8", "PCM_U8"}  # subtypes that int16 holds without loss
_GAPS = 0.05  # seconds in all
# Sizes that programs write that stream to a pipe and do not know; and all that leave the last of 4 GiB no room
_ENDLESS, _NO_ROOM = {0x7FFFF000, 0x7FFFFFFF, 0x80000000}, 0xFFFFF000
_NONE = 1 << 62  # of sizes of 64 bits


def read_audio(
    path: str | os.PathLike,
    start: float | None = None,
    end: float | None = None,
    rate: int = 16000,
    max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
    """Decode, mix to mono, resample.

    Args:
        path: a sound file, or a video file with sound.
        start: beginning of the span in seconds; None is the beginning of the file.
        end: end of the span in seconds; None is the end of the file.
        rate: samples a second of the result.
        max_seconds: the longest span that is decoded.

    Returns:
        Shape (T), int16.

    Raises:
        MediaError: the file is not usable, gives less than it declares, or does not reach the end of the span.
    """
    path = check_file(path)
    first = start or 0.0
    if end is not None and end - first > max_seconds:
        raise _too_long(path, max_seconds)
    found = _by_soundfile(path, first, end, max_seconds)
    samples, found_rate = found if found is not None else _by_av(path, first, end, max_seconds)
    return to_pcm(samples, found_rate, rate, str(path))


def to_pcm(samples: np.ndarray, found_rate: int, rate: int = 16000, name: str = "sound") -> np.ndarray:
    """Resample to 16-bit numbers.

    Args:
        samples: shape (T), int16, or floats in [-1, 1].
        found_rate: samples a second of them.
        rate: samples a second of the result.
        name: of what they are, for messages.

    Raises:
        MediaError: non_finite.
    """
    if samples.dtype == np.int16 and found_rate == rate:
        return samples
    samples = (
        samples.astype(np.float32) / 32768 if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)
    )
    if not np.isfinite(samples).all():
        raise MediaError("non_finite", f"{name}: the samples contain NaN or infinity")
    if found_rate != rate:
        samples = soxr.resample(samples, found_rate, rate)
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _too_long(path: Path, max_seconds: float) -> MediaError:
    return MediaError("too_long", f"{path}: longer than {max_seconds:g} s; cut it, or allow more with --max-seconds")


def _by_soundfile(path: Path, start: float, end: float | None, max_seconds: float) -> tuple[np.ndarray, int] | None:
    """Mono samples (int16 or float32) and their rate, or None where soundfile is not the one to read the file."""
    try:
        file = soundfile.SoundFile(os.fsencode(path))  # it cannot encode all names itself
    except (soundfile.SoundFileError, OSError) as error:
        raise_passing(error)
        return None
    with file:
        rate = file.samplerate
        if file.frames > 1 << 60:  # a FLAC that does not say how long it is: soundfile cannot seek there
            return None
        if not _RATES[0] <= rate <= _RATES[1]:
            raise MediaError("unreadable", f"{path}: {rate} Hz is not a believable sampling rate")
        declared = file.frames * promised(path) / rate
        check_span(path, start, end, declared)
        allow_for(start, end, declared, max_seconds)
        limit = int(max_seconds * rate) + 1
        left = limit if end is None else min(limit, round(end * rate) - round(start * rate))
        dtype = "int16" if file.subtype in _EXACT and file.channels == 1 else "float32"
        blocks, most = [], max(1, _BLOCK // file.channels)
        try:
            if start:
                file.seek(min(round(start * rate), file.frames))
            while left > 0 and len(block := file.read(min(left, most), dtype=dtype, always_2d=True)):
                blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(1))
                left -= len(block)
        except (soundfile.SoundFileError, OSError) as error:
            raise_passing(error)
            raise MediaError("unreadable", f"{path}: {error}") from error
    samples = np.concatenate(blocks) if blocks else np.empty(0, dtype)
    if len(samples) >= limit:
        raise _too_long(path, max_seconds)
    check_length(path, len(samples) / rate, start, end, declared, slack=0.05)
    return samples, rate


def promised(path: Path) -> float:
    """How often the data that a WAV, RF64, W64, AIFF, AU or Ogg file holds go into what its header promises.

    libsndfile shortens silently.

    1.0 for a whole file, for a header of unknown length and for other formats; infinity for an Ogg stream that lacks
    its last page.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(12)
        if magic[:4] == b"OggS":
            file.seek(max(0, size - 0x10000))
            tail = file.read()
            page = tail.rfind(b"OggS\x00")
            return 1.0 if page >= 0 and _is_last_page(tail[page:]) else np.inf
        if magic[:4] == b".snd":
            offset, promised = struct.unpack(">II", magic[4:12])
            return _ratio(promised, size - offset)
        if magic[:4] in (b"RIFF", b"RIFX", b"RF64") and magic[8:] == b"WAVE":
            return _chunk_ratio(file, size, b"data", ">I" if magic[:4] == b"RIFX" else "<I")
        if magic[:4] == b"riff":
            return _wave64_ratio(file, size)
        if magic[:4] == b"FORM" and magic[8:11] == b"AIF":
            return _chunk_ratio(file, size, b"SSND", ">I")
    return 1.0


def _chunk_ratio(file: BinaryIO, size: int, wanted: bytes, order: str) -> float:
    position, wide = 12, 0
    while len(head := file.read(8)) == 8:
        promised = struct.unpack(order, head[4:])[0]
        if head[:4] == b"ds64" and len(sizes := file.read(16)) == 16:  # RF64: of the file and of the data (EBU 3306)
            wide = struct.unpack("<QQ", sizes)[1]
        if head[:4] == wanted:
            held = size - position - 8
            return _ratio(wide, held, wide=True) if wide and promised == 0xFFFFFFFF else _ratio(promised, held)
        position += 8 + promised + promised % 2
        file.seek(position)
    return 1.0


def _wave64_ratio(file: BinaryIO, size: int) -> float:
    """Of a Sony Wave64 file, whose chunks have names of 16 bytes and sizes of 64 bits that count these too."""
    position = 40
    while position < size:
        file.seek(position)
        if len(head := file.read(24)) < 24:
            break
        (promised,) = struct.unpack("<Q", head[16:])
        if head[:4] == b"data":
            return _ratio(promised - 24, size - position - 24, wide=True)
        position += max(24, -(-promised // 8) * 8)
    return 1.0


def _ratio(promised: int, held: int, wide: bool = False) -> float:
    endless = promised >= _NONE if wide else promised >= _NO_ROOM or promised in _ENDLESS
    return 1.0 if endless or held <= 0 else max(1.0, promised / held)


def _is_last_page(page: bytes) -> bool:
    """Whether an Ogg page (RFC 3533, section 6) is whole and flagged as the end of its stream."""
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _mono(channels: np.ndarray) -> np.ndarray:
    """(C, T) to (T)."""
    return channels[0] if len(channels) == 1 else channels.mean(0)


def _by_av(path: Path, start: float, end: float | None, max_seconds: float) -> tuple[np.ndarray, int]:
    """Mono float32 samples of a container's first sound track, and their rate."""
    blocks: list[np.ndarray] = []
    with Track(path, "audio") as track:
        declared, rate = track.declared, track.stream.rate or 0
        if not _RATES[0] <= rate <= _RATES[1]:
            raise MediaError("unreadable", f"{path}: {rate} Hz is not a believable sampling rate")
        check_span(path, start, end, declared)
        allow_for(start, end, declared, max_seconds)
        limit = int(max_seconds * rate) + 1
        wanted = limit if end is None else min(limit, round((end - start) * rate))
        skip, held, covered = None, 0, start
        planar = av.AudioResampler(format="fltp")
        for time, frame in track.frames(start):
            if skip is None:
                skip = round((start - time) * rate)
                if skip < 0 and start:  # the sound begins after the span does: keep it beside the picture
                    blocks.append(np.zeros(min(-skip, wanted), np.float32))
                    held = len(blocks[0])
                skip = max(0, skip)
            try:
                block = np.concatenate([_mono(part.to_ndarray()) for part in planar.resample(frame)])
            except FAILURES as error:
                raise MediaError("unreadable", f"{path}: the sound changes its form on the way: {error}") from error
            block, skip = block[skip:], max(0, skip - len(block))
            blocks.append(block[: wanted - held])
            held += len(blocks[-1])
            covered = max(covered, time + frame.samples / rate)
            if held >= wanted:
                break
        else:
            declared = track.ended(max(covered, start + held / rate))
    if held >= limit:
        raise _too_long(path, max_seconds)
    check_span(path, start, end, declared)
    got = held / rate
    if held < wanted and covered - start > got and not is_cut(path):  # it stopped for a moment, and goes on to the end
        got = min(covered - start, got + _GAPS)
    check_length(path, got, start, end, declared, slack=0.05)
    return np.concatenate(blocks).astype(np.float32, copy=False), rate
