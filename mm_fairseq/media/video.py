"""Pictures: the frames that a video shows at evenly spaced times.

H height, W width, in pixels.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from . import MAX_SECONDS, MediaError, check_length, check_span
from .bounds import allow_for
from .container import FAILURES, Track, has_track

MAX_PIXELS = 4096 * 2304  # of one frame
MAX_RATE = 1000  # pictures a second
_USUAL = 1920 * 1080 * 30  # pixels a second that take, with all that follows, less than a second of processor time
_FASTEST = 240  # pictures a second for which time is given
MAX_CLIP_BYTES = (
    1 << 29
)  # of all RGB frames of a clip; longer or larger clips are shrunk evenly while they are converted


def has_audio(path: str | os.PathLike) -> bool:
    """Whether a file can be opened and has a sound track."""
    return has_track(path, "audio")


def read_frames(
    path: str | os.PathLike,
    start: float | None = None,
    end: float | None = None,
    fps: float = 5.0,
    region: tuple[int, int, int, int] | None = None,
    max_seconds: float = MAX_SECONDS,
) -> list[np.ndarray]:
    """The frames on the screen at the times start + (k + 0.5) / fps; at least one. Only these are converted to RGB.

    Args:
        path: a video file.
        start: beginning of the span in seconds; None is the beginning of the file.
        end: end of the span in seconds; None is the end of the file.
        fps: frames a second of the result.
        region: (x, y, width, height) in pixels to cut from each picture.
        max_seconds: the longest span that is decoded.

    Returns:
        Arrays of shape (H, W, 3), uint8 RGB.

    Raises:
        MediaError: the file is not usable, gives less than it declares, does not reach the end of the span, or is too
            large.
    """
    first = start or 0.0
    with Track(path, "video") as track:
        declared = track.declared
        size = _size(track)
        check_span(track.path, first, end, declared)
        rate = min(float(track.stream.average_rate or 25), _FASTEST) + fps
        allow_for(first, end, declared, max_seconds, size[0] * size[1] * rate / _USUAL)
        seconds = (end if end is not None else track.guess or first + min(60.0, max_seconds)) - first
        if seconds > max_seconds:
            raise MediaError(
                "too_long", f"{track.path}: longer than {max_seconds:g} s; cut it, or allow more with --max-seconds"
            )
        if track.stream.frames > MAX_RATE * max(1.0, declared or max_seconds):
            raise MediaError("too_large", f"{track.path}: {track.stream.frames} pictures in {declared or 0:g} s")
        # A picture on the way may be larger than the file says.
        track.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        shrink = min(1.0, (MAX_CLIP_BYTES / (3 * size[0] * size[1] * max(1.0, seconds * fps))) ** 0.5)
        box = _box(track, region, size)
        reformatter = VideoReformatter()  # one for all frames: to set one up takes longer than to use it
        frames: list[np.ndarray] = []
        last = None
        for frame in _nearest(track, first, end, declared, fps):
            if (frame.width, frame.height) != size:
                raise MediaError("corrupt", f"{track.path}: the picture changes its size on the way")
            if frame is last:
                frames.append(frames[-1])
            else:
                frames.append(_convert(track, reformatter, frame, box, shrink))
            last = frame
            if len(frames) > max_seconds * fps + 1 or len(frames) * frames[0].nbytes > 2 * MAX_CLIP_BYTES:
                raise MediaError("too_long", f"{track.path}: longer than it declares or than {max_seconds:g} s; cut it")
    return frames


def _size(track: Track) -> tuple[int, int]:
    """Width and height."""
    width, height = track.stream.width, track.stream.height
    if not 0 < width * height <= MAX_PIXELS:
        raise MediaError(
            "too_large", f"{track.path}: pictures of {width}x{height}; at most {MAX_PIXELS} pixels are read"
        )
    return width, height


def _box(track: Track, region: tuple[int, int, int, int] | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    x, y, width, height = region or (0, 0, *size)
    if min(x, y) < 0 or min(width, height) < 1 or x + width > size[0] or y + height > size[1]:
        raise MediaError(
            "bad_region", f"{track.path}: the region {region} leads out of the picture of {size[0]}x{size[1]}"
        )
    return x, y, x + width, y + height


def _nearest(track: Track, start: float, end: float | None, declared: float | None, fps: float) -> Iterator[Any]:
    """Frames, one a target time; a frame that stands for two of them comes twice."""
    usual = interval = 1 / float(track.stream.average_rate or 25)
    count = None if end is None else max(1, round((end - start) * fps))
    half = 0.5 / fps if end is None else min(0.5 / fps, 0.5 * (end - start))
    done, previous, covered = 0, None, start
    for time, frame in track.frames(start):
        while (count is None or done < count) and time > start + half + done / fps:
            yield frame if previous is None else previous[1]
            done += 1
        if previous is not None and time > previous[0]:
            interval = time - previous[0]
        shown = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else interval
        previous, covered = (time, frame), time + shown
        if done == count or (end is not None and time > end):
            covered = max(covered, end or 0.0)
            break
    else:
        declared = track.ended(covered)
        check_span(track.path, start, end, declared)
    check_length(track.path, covered - start, start, end, declared, slack=max(0.05, 1.5 * usual))
    while previous is not None and (
        done < count if count is not None else start + half + done / fps < covered or not done
    ):
        yield previous[1]
        done += 1


def _convert(
    track: Track, reformatter: VideoReformatter, frame: Any, box: tuple[int, int, int, int], shrink: float
) -> np.ndarray:
    """On one thread: FFmpeg would start as many as there are cores, for each frame anew."""
    try:
        if shrink < 1.0:
            width, height = max(1, int(frame.width * shrink)), max(1, int(frame.height * shrink))
            frame = frame.reformat(width=width, height=height, threads=1)
            box = tuple(int(edge * shrink) for edge in box)  # type: ignore[assignment]
        colours = reformatter.reformat(frame, format="rgb24", threads=1)
        plane = colours.planes[0]
        shape, strides = (colours.height, colours.width, 3), (plane.line_size, 3, 1)
        picture: np.ndarray = np.ndarray(shape, np.uint8, memoryview(plane), strides=strides)  # without a copy
    except FAILURES as error:
        raise MediaError("unreadable", f"{track.path}: a picture could not be converted to RGB: {error}") from error
    left, top, right, bottom = box
    return np.rot90(picture[top : max(bottom, top + 1), left : max(right, left + 1)], frame.rotation // 90)
