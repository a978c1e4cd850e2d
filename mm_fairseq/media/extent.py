"""How long the tracks of a recording are, whatever its header says of that."""

import os
from typing import Any

import soundfile

from . import MediaError, check_file, raise_passing
from .bounds import allow_for
from .container import Track

_DAY = 86_400.0
_PACKED = {"FLAC", "MP3", "OGG"}  # formats whose length soundfile takes from the header, whatever the file has


def read_extent(path: str | os.PathLike) -> dict[str, Any]:
    """Find out where sound and pictures end. Containers are read to their end, but nothing is decoded.

    Args:
        path: a sound or video file.

    Returns:
        `audio` and `video`: seconds from the beginning of the file, None where there is no such track (a picture of a
        cover is none); `pixels`: of a picture, 0 where there are none.

    Raises:
        MediaError: there is neither, or the file cannot be read.
        OSError: the machine is at fault.
    """
    path = check_file(path)
    audio, sure = _by_soundfile(path)
    try:
        with Track(path, "video") as track:
            if not track.is_cover:
                ends = _ends(track)
                pixels = track.stream.width * track.stream.height
                return {"audio": ends["audio"] if audio is None else audio, "video": ends["video"], "pixels": pixels}
    except MediaError:
        if audio is None and not _has_sound(path):
            raise
    if audio is None or (not sure and _has_sound(path)):
        with Track(path, "audio") as track:
            counted = _ends(track)["audio"]
            audio = counted if audio is None else min(audio, counted or audio)
    return {"audio": audio, "video": None, "pixels": 0}


def _by_soundfile(path: str | os.PathLike) -> tuple[float | None, bool]:
    """Seconds of what soundfile finds, None where it is not the one to read the file; whether they are there."""
    try:
        about = soundfile.info(os.fsencode(path))  # it cannot encode all names itself
    except (soundfile.SoundFileError, OSError) as error:
        raise_passing(error)
        return None, False
    if about.frames > 1 << 60 or not about.samplerate:
        return None, False
    return about.frames / about.samplerate, about.format not in _PACKED


def _ends(track: Track) -> dict[str, float | None]:
    allow_for(0.0, None, track.declared, _DAY)
    return track.ends()


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
