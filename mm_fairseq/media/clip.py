"""Pictures of a face for a model: a clip to JPEGs."""

from collections.abc import Sequence

import numpy as np

from . import MAX_SECONDS, MediaError
from .faces import encode_clip, face_crops
from .video import read_frames


def read_clip(
    path: str,
    start: float | None = None,
    end: float | None = None,
    fps: float = 5.0,
    region: tuple[int, int, int, int] | None = None,
    max_seconds: float = MAX_SECONDS,
    size: int = 256,
    faces: str = "detect",
    several: bool = False,
) -> list[bytes]:
    """Decode a clip, follow the face in it, crop, compress.

    Args:
        path: a video file.
        start: see `video.read_frames`, as `end`, `fps`, `region` and `max_seconds`.
        end: of the span.
        fps: frames a second of the result.
        region: of the picture.
        max_seconds: the longest span that is decoded.
        size: side of the result in pixels.
        faces: "detect", "center" or "none", see `faces.face_crops`.
        several: whether it is to be told where the face that is followed is not the only one.

    Returns:
        JPEGs of size x size pixels.

    Raises:
        MediaError: as `video.read_frames`; and no_face, which keeps the JPEGs of the middle of the picture, or
            several_faces, which keeps those of the face that is followed.
    """
    return to_clip(read_frames(path, start, end, fps, region, max_seconds), fps, size, faces, path, several)


def to_clip(
    frames: Sequence[np.ndarray], fps: float, size: int, faces: str, name: str = "pictures", several: bool = False
) -> list[bytes]:
    """Follow the face in the frames of a clip, crop, compress.

    Args:
        frames: arrays of shape (H, W, 3), uint8 RGB.
        fps: of them.
        size: see `read_clip`, as `faces` and what is returned and raised.
        faces: how to crop.
        name: of what they are, for messages.
        several: see `read_clip`.
    """
    crops, fault = face_crops(frames, size, faces, fps, several)
    pictures = encode_clip(crops)
    if fault is not None:
        raise MediaError(fault.code, f"{name}: {fault}", (pictures, len(pictures)))
    return pictures
