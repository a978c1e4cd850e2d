"""Faces: square crops around the face of a clip, and their JPEG form.

H height, W width, in pixels.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from . import MediaError
from .tracking import PASSES, follow_face

FACES = ("detect", "center", "none")
MARGIN = 1.6  # crop over detected box: about the framing of VoxCeleb, on which FAb-Net was trained
SHRINK = 2.0  # of a face up to here two pixels each way miss none; a mean over areas takes eight times as long
JPEG_QUALITIES = (95, 90, 85, 80, 70, 60, 50, 35, 20, 10)  # the first that fits
FRAME_BYTES = 29_950  # at most, in the mean of a clip, up to 256 x 256 pixels: 1.5 MB for 5 s at 10 frames a second


class Crops(Sequence[np.ndarray]):
    """Squares cut out of the frames of a clip, each made when it is asked for: all of them may be larger than a clip.

    Args:
        frames: arrays of shape (H, W, 3), uint8 RGB.
        boxes: middle and side of each square in pixels, shape (T, 3); None for the whole picture.
        size: side of the results, of shape (size, size, 3), uint8 RGB.
        shrink: areas are averaged where a square shrinks by more.
    """

    def __init__(self, frames: Sequence[np.ndarray], boxes: np.ndarray | None, size: int, shrink: float = 1.0) -> None:
        self._frames, self._boxes, self._size, self._shrink = frames, boxes, size, shrink

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, number: Any) -> Any:
        frame = self._frames[number]
        square = frame if self._boxes is None else _square(frame, *self._boxes[number])
        return _scale(square, self._size, self._shrink)


def face_crops(
    frames: Sequence[np.ndarray], size: int = 256, mode: str = "detect", fps: float = 5.0, several: bool = False
) -> tuple[Crops, MediaError | None]:
    """Cut one square out of each frame of a clip, and scale it.

    Args:
        frames: arrays of shape (H, W, 3), uint8 RGB.
        size: side of the result in pixels.
        mode: "detect" finds the face and follows it; "center" takes the largest centred square; "none" scales the
            whole picture.
        fps: of the frames.
        several: whether it is to be told where the face that is followed is not the only one.

    Returns:
        Arrays of shape (size, size, 3), uint8 RGB; and a no_face where "detect" found none, so that the crops are those
        of "center", or a several_faces.
    """
    height, width = frames[0].shape[:2]
    if mode == "none":
        return Crops(frames, None, size), None
    fault, shrink = None, 1.0
    boxes = np.tile((width / 2, height / 2, float(min(height, width))), (len(frames), 1))
    if mode == "detect":
        found, count = follow_face(frames, fps)
        if found is None:
            looks = min(len(frames), max(way.looks for way in PASSES))
            fault = MediaError(
                "no_face",
                f"no face found in any of the {looks} frames looked at, out of {len(frames)} of {width}x{height}; the "
                "middle of the picture is kept",
            )
        else:
            boxes, shrink = found * (1, 1, MARGIN), SHRINK
            if several and count > 1:
                fault = MediaError("several_faces", f"{count} faces at once; the one that is seen best is followed")
    return Crops(frames, boxes, size, shrink), fault


def _square(frame: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
    """Moved, or shrunk, to lie in the picture."""
    height, width = frame.shape[:2]
    pixels = max(1, round(min(side, height, width)))
    left = min(max(round(x - pixels / 2), 0), width - pixels)
    top = min(max(round(y - pixels / 2), 0), height - pixels)
    return frame[top : top + pixels, left : left + pixels]


def single_threaded() -> None:
    """Keep OpenCV to the thread it is called from: processes are the workers here."""
    cv2.setNumThreads(1)


def encode_clip(pictures: Sequence[np.ndarray]) -> list[bytes]:
    """Compress the pictures of a clip, of shape (H, W, 3), uint8 RGB, in one quality that keeps it small enough."""
    height, width = pictures[0].shape[:2]
    limit = FRAME_BYTES * max(256 * 256, height * width) / (256 * 256) * len(pictures)
    for quality in JPEG_QUALITIES:
        encoded, size = [], 0
        for picture in pictures:
            encoded.append(encode_jpeg(picture, quality))
            size += len(encoded[-1])
            if size > limit and quality != JPEG_QUALITIES[-1]:
                break
        else:
            break
    return encoded


def encode_jpeg(picture: np.ndarray, quality: int = JPEG_QUALITIES[0]) -> bytes:
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


def _scale(picture: np.ndarray, size: int, shrink: float = 1.0) -> np.ndarray:
    """To a square; areas are averaged where it shrinks by more than `shrink`."""
    areas = min(picture.shape[:2]) > shrink * size
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if areas else cv2.INTER_LINEAR)
