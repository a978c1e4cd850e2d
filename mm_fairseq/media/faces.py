"""Faces: square crops around the face of a clip, and their JPEG form.

H height, W width, in pixels.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from . import MediaError

FACES = ("detect", "center", "none")
MARGIN = 1.6  # crop over detected box: about the framing of VoxCeleb, on which FAb-Net was trained
JPEG_QUALITY = 95

# Quick first, then thorough: cascade, longer side of the picture that it sees, frames looked at, share of
# these that must agree, least score of the best: of those tried, every face passes and 1 of 400 pictures of clouds.
_PASSES = (
    ("haarcascade_frontalface_alt2", 240, 3, 0.5, 55.6),
    ("haarcascade_frontalface_alt2", 480, 7, 0.2, 55.6),
    ("haarcascade_frontalface_default", 480, 7, 0.2, 8.0),
    ("haarcascade_profileface", 480, 7, 0.2, 1.0),
)

Box = tuple[float, float, float, float]  # centre x, centre y, side, in pixels; score


def face_crops(frames: list[np.ndarray], size: int = 256, mode: str = "detect") -> list[np.ndarray]:
    """Cut one square out of all frames of a clip, and scale it.

    Args:
        frames: arrays of shape (H, W, 3), uint8 RGB.
        size: side of the result in pixels.
        mode: "detect" finds the face (one box a clip: the median over a few frames); "center" takes the largest
            centred square; "none" scales the whole picture.

    Returns:
        Arrays of shape (size, size, 3), uint8 RGB.

    Raises:
        MediaError: no_face: "detect" found none in any frame it looked at.
    """
    height, width = frames[0].shape[:2]
    if mode == "none":
        return [_scale(frame, size) for frame in frames]
    if mode == "center":
        x, y, side = width / 2, height / 2, float(min(height, width))
    else:
        x, y, side = find_face(frames)
        side = min(side * MARGIN, height, width)
    pixels = max(1, round(side))
    left = min(max(round(x - pixels / 2), 0), width - pixels)
    top = min(max(round(y - pixels / 2), 0), height - pixels)
    return [_scale(frame[top : top + pixels, left : left + pixels], size) for frame in frames]


def find_face(frames: list[np.ndarray]) -> tuple[float, float, float]:
    """The face of a clip: the box that most of the frames looked at agree upon.

    Returns:
        Centre x, centre y and side of the box in pixels.

    Raises:
        MediaError: no_face.
    """
    for cascade, longest, looks, share, score in _PASSES:
        scale = min(1.0, longest / max(frames[0].shape[:2]))
        chosen = sorted({round(place) for place in np.linspace(0, len(frames) - 1, looks)})
        boxes = [box for place in chosen for box in _detect(cascade, _grey(frames[place], scale))]
        if not boxes:
            continue
        best = max(boxes, key=lambda box: sum(other[3] * _overlap(box, other) for other in boxes))
        agreeing = [box for box in boxes if _overlap(best, box) > 0.3]
        if len(agreeing) > share * len(chosen) and max(box[3] for box in agreeing) >= score:
            x, y, side, _ = np.median(agreeing, axis=0) / scale
            return float(x), float(y), float(side)
    height, width = frames[0].shape[:2]
    raise MediaError(
        "no_face",
        f"no face found in any of the {len(chosen)} frames looked at, out of {len(frames)} of {width}x{height}",
    )


def single_threaded() -> None:
    """Keep OpenCV to the thread it is called from: processes are the workers here."""
    cv2.setNumThreads(1)


def encode_jpeg(picture: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Compress a picture of shape (H, W, 3), uint8 RGB."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise MediaError("unreadable", f"a picture of shape {picture.shape} could not be compressed")
    return data.tobytes()


def decode_jpeg(data: np.ndarray | bytes) -> np.ndarray:
    """Decompress. Returns shape (H, W, 3), uint8 RGB.

    Raises:
        MediaError: unreadable.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise MediaError("unreadable", f"{len(data)} bytes are not a JPEG picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _scale(picture: np.ndarray, size: int) -> np.ndarray:
    shrinks = min(picture.shape[:2]) > size
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _grey(frame: np.ndarray, scale: float) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if scale < 1.0:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.equalizeHist(grey)


def _detect(name: str, grey: np.ndarray) -> list[Box]:
    boxes, _, weights = _cascade(name).detectMultiScale3(
        grey, scaleFactor=1.15, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
    )
    return [
        (x + width / 2, y + height / 2, (width + height) / 2, max(1e-3, float(weight)))
        for (x, y, width, height), weight in zip(boxes, np.ravel(weights), strict=True)
    ]


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / f"{name}.xml"))


def _overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    (x, y, side, _), (x2, y2, side2, _) = first, second
    width = min(x + side / 2, x2 + side2 / 2) - max(x - side / 2, x2 - side2 / 2)
    height = min(y + side / 2, y2 + side2 / 2) - max(y - side / 2, y2 - side2 / 2)
    common = max(0.0, width) * max(0.0, height)
    return common / (side * side + side2 * side2 - common)
