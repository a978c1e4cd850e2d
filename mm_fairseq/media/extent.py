"""How long the tracks of a recording are, whatever its header says of that."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from . import MediaError, check_file, raise_passing
from .audio import promised
from .bounds import allow_for
from .container import Track
from .ends import is_cut

_DAY = 86_400.0
_PACKED = {"FLAC", "MP3", "OGG"}  # formats whose length soundfile takes from the header, whatever the file has


def read_extent(path: str | os.PathLike) -> dict[str, Any]:
    """Find out where sound and pictures end. Containers are read to their end, but nothing is decoded.

    Args:
        path: a sound or video file.

    Returns:
        `audio` and `video`: seconds from the beginning of the file, None where there is no such track (a picture of a
        cover is none); `pixels`: of a picture, 0 where there are none; `cut`: whether the file breaks off before the
        end that it declares.

    Raises:
        MediaError: there is neither, or the file cannot be read.
        OSError: the machine is at fault.
    """
    path = check_file(path)
    audio, declared, sure = _by_soundfile(path)
    cut = False
    try:
        with Track(path, "video") as track:
            if not track.is_cover:
                ends = _ends(track)
                pixels = track.stream.width * track.stream.height
                audio = ends["audio"] if audio is None else audio
                return {"audio": audio, "video": ends["video"], "pixels": pixels, "cut": _breaks_off(track, ends)}
    except MediaError:
        if audio is None and not _has_sound(path):
            raise
    if audio is None or (not sure and _has_sound(path)):
        with Track(path, "audio") as track:
            ends = _ends(track)
            counted, cut = ends["audio"], _breaks_off(track, ends)
            audio = counted if audio is None else min(audio, counted or audio)
    return {"audio": audio, "video": None, "pixels": 0, "cut": cut or _falls_short(audio or 0.0, declared)}


def _by_soundfile(path: Path) -> tuple[float | None, float, bool]:
    """Seconds of what soundfile finds, and what the header promises; whether the former are there.

    None, and nothing, where it is not the one to read the file.
    """
    try:
        about = soundfile.info(os.fsencode(path))  # it cannot encode all names itself
    except (soundfile.SoundFileError, OSError) as error:
        raise_passing(error)
        return None, 0.0, False
    if about.frames > 1 << 60 or not about.samplerate:
        return None, 0.0, False
    seconds = about.frames / about.samplerate
    return seconds, seconds * promised(path), about.format not in _PACKED


def _ends(track: Track) -> dict[str, float | None]:
    allow_for(0.0, None, track.declared, _DAY)
    return track.ends()


def _breaks_off(track: Track, ends: Mapping[str, float | None]) -> bool:
    last = max(end or 0.0 for end in ends.values())
    return is_cut(track.path) and (track.declared is None or _falls_short(last, track.declared))


def _falls_short(end: float, declared: float) -> bool:
    """By as much as makes a clip a truncated one, see `check_length`."""
    return end < min(declared - 0.05, 0.995 * declared)


def _has_sound(path: str | os.PathLike) -> bool:
    try:
        with Track(path, "audio"):
            return True
    except MediaError:
        return False


def has_pictures(path: str | os.PathLike) -> bool:
    """Whether a file can be opened and has pictures other than that of a cover."""
    try:
        with Track(path, "video") as track:
            return not track.is_cover
    except MediaError:
        return False
