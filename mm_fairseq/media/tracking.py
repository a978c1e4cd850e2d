"""Where the face of a clip is, frame by frame.

Found by OpenCV's cascades (Viola and Jones 2001; their models lie in the wheel), then followed by where the last patch
of it fits best, five times a second; once a second, and where the fit is poor, a cascade looks about that place, and
where it sees nothing, in the whole picture. Positions are those of T frames, H height, W width, in pixels.

Why these: the model is to come with the package, and the cost to stay below that of decoding. Of what is kept up today,
mediapipe 1.2 and YuNet bring no model in their packages, and mtcnn runs on TensorFlow. In OpenCV's wheel, TrackerMIL
takes thirty times as long and loses faces that turn back, patches alone do not see a face grow, and neither they nor
optical flow can tell that it is gone; examples/own_table/README.md has the figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np


class Pass(NamedTuple):
    """A way of looking at the whole picture.

    Args:
        cascade: its file.
        longest: longer side of the picture that it sees, in pixels.
        smallest: side of the smallest face that is looked for there.
        least: side of the smallest that is taken: of one near `smallest` not all is seen.
        looks: frames looked at.
        share: of these, more than so many must agree.
        score: least one of the best.
    """

    cascade: str
    longest: int
    smallest: int
    least: int
    looks: int
    share: float
    score: float


class Box(NamedTuple):
    """Centre, side and score of a square."""

    x: float
    y: float
    side: float
    score: float


# Quick first, then thorough; of those tried, every face passes and 1 of 400 pictures of clouds.
PASSES = (
    Pass("haarcascade_frontalface_alt2", 240, 48, 82, 3, 0.5, 55.6),
    Pass("haarcascade_frontalface_alt2", 240, 24, 0, 3, 0.5, 55.6),
    Pass("haarcascade_frontalface_alt2", 480, 24, 0, 7, 0.2, 55.6),
    Pass("haarcascade_frontalface_default", 480, 24, 0, 7, 0.2, 8.0),
    Pass("haarcascade_profileface", 480, 24, 0, 7, 0.2, 1.0),
)
STEPS = 5.0  # a second, in which a face is followed
LOOKS = 1.0  # a second, in which it is searched
STILL = 0.2  # of its side, how far a face may wander while the crop stands still
_GROWTH = 1.25  # by which its size may change meanwhile
_STRAY = 0.5  # of its side, off its neighbours: seen wrongly
_JUMP = 1.0  # of its side, between two looks: another shot, no movement
_NEAR = 32  # pixels of the face's side where it is searched near its last place
_PATCH = 24  # pixels of its side where it is compared with how it looked
_LIKE = 0.8  # correlation of a patch that need not be searched, and of one that is not it
_UNLIKE = 0.5


def follow_face(frames: Sequence[np.ndarray], fps: float) -> tuple[np.ndarray | None, int]:
    """The face of a clip in every frame.

    One person is followed: the one seen most, and with most certainty, in the frames looked at first. A face that
    stays where it is keeps one box.

    Args:
        frames: arrays of shape (H, W, 3), uint8 RGB.
        fps: of the frames.

    Returns:
        Centre x, centre y and side, shape (T, 3), None where no face was found; and how many faces are seen at once in
        most of the frames looked at, in the way that found the one.
    """
    spare, count = None, 0
    for way in PASSES:
        seen = _look(way, frames)
        still = _agreed(way, frames, seen)
        if still is not None:
            first = max((_overlap(still, box), -place) for place, boxes in seen.items() for box in boxes)
            place = -first[1]
            start = max(seen[place], key=lambda box: _overlap(still, box))
            return _smooth(_follow(frames, way, place, start, fps)[0], len(frames), still), _at_once(way, seen)
        if way.least:
            continue
        candidates = ((box, place) for place, boxes in seen.items() for box in boxes if box.score >= way.score)
        best = max(candidates, default=None, key=lambda candidate: candidate[0].score)
        if best is not None and len(frames) > 1:
            found, share = _follow(frames, way, best[1], best[0], fps)
            if share > 0.5:
                track = _smooth(found, len(frames), None)
                if np.ptp(track, axis=0).any():
                    return track, _at_once(way, seen)
                if spare is None:  # it does not move, so that looking closely finds it too
                    spare, count = track, _at_once(way, seen)
    return spare, count


def _at_once(way: Pass, seen: Mapping[int, Sequence[Box]]) -> int:
    return max(1, int(np.median([sum(box.score >= way.score for box in boxes) for boxes in seen.values()])))


def _look(way: Pass, frames: Sequence[np.ndarray]) -> dict[int, list[Box]]:
    """Frame number to what is found there, in pixels of the frame."""
    chosen = sorted({round(place) for place in np.linspace(0, len(frames) - 1, way.looks)})
    return {place: _in_picture(way, frames[place]) for place in chosen}


def _in_picture(way: Pass, frame: np.ndarray) -> list[Box]:
    scale = _scale(way, frame)
    boxes = _detect(way.cascade, _grey(frame, scale), way.smallest)
    return [Box(box.x / scale, box.y / scale, box.side / scale, box.score) for box in boxes]


def _scale(way: Pass, frame: np.ndarray) -> float:
    return min(1.0, way.longest / max(frame.shape[:2]))


def _agreed(way: Pass, frames: Sequence[np.ndarray], seen: Mapping[int, Sequence[Box]]) -> Box | None:
    """The median of the boxes that overlap the one most others vouch for."""
    boxes = [box for each in seen.values() for box in each]
    if not boxes:
        return None
    best = max(boxes, key=lambda box: sum(other.score * _overlap(box, other) for other in boxes))
    agreeing = [box for box in boxes if _overlap(best, box) > 0.3]
    if len(agreeing) <= way.share * len(seen) or max(box.score for box in agreeing) < way.score:
        return None
    middle = Box(*np.median(agreeing, axis=0).tolist())
    return middle if middle.side * _scale(way, frames[0]) >= way.least else None


class _Patch(NamedTuple):
    """A face as it looked: grey, scaled; where its middle lies there."""

    picture: np.ndarray
    x: float
    y: float


def _follow(frames: Sequence[np.ndarray], way: Pass, place: int, box: Box, fps: float) -> tuple[dict[int, Box], float]:
    """From one frame to both ends.

    Returns:
        Frame number to where the face is, and the share of looks that found one.
    """
    step, found, seen = max(1, round(fps / STEPS)), {place: box}, []
    for numbers in (range(place + step, len(frames) + step - 1, step), range(place - step, -step, -step)):
        last, lost, waited, patch = box, 0, 0, _patch(frames[place], box)
        for number in (min(max(number, 0), len(frames) - 1) for number in numbers):
            likeness, guess = _match(frames[number], patch, last)
            waited += step
            if likeness < _LIKE or waited >= fps / LOOKS or lost:
                near = _nearby(way.cascade, frames[number], guess, lost)
                seen.append(near is not None)
                if near is None and (not lost or waited >= fps / LOOKS):
                    waited = 0
                    near = _anywhere(way, frames[number], last, None if likeness < _UNLIKE else guess)
                lost = lost + 1 if near is None and likeness < _UNLIKE else 0
                if near is not None:
                    waited, guess, patch = 0, near, _patch(frames[number], near)
            if not lost:
                found[number] = last = guess
    return found, float(np.mean(seen)) if seen else 0.0


def _patch(frame: np.ndarray, box: Box) -> _Patch:
    left, top, window = _window(frame, box, 0.5)
    scale = _PATCH / box.side
    return _Patch(_small(window, scale), (box.x - left) * scale, (box.y - top) * scale)


def _match(frame: np.ndarray, patch: _Patch, last: Box) -> tuple[float, Box]:
    """How much a frame shows the patch near its last place, -1 to 1, and where."""
    left, top, window = _window(frame, last, 1.5)
    scale = _PATCH / last.side
    small = _small(window, scale)
    if min(patch.picture.shape) < _PATCH / 2 or (np.array(small.shape) < patch.picture.shape).any():
        return -1.0, last
    _, likeness, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(small, patch.picture, cv2.TM_CCOEFF_NORMED))
    return likeness, Box(left + (x + patch.x) / scale, top + (y + patch.y) / scale, last.side, last.score)


def _window(frame: np.ndarray, box: Box, reach: float) -> tuple[int, int, np.ndarray]:
    """Left, top and picture of what lies within so many sides of a box's middle."""
    left, top = max(0, round(box.x - reach * box.side)), max(0, round(box.y - reach * box.side))
    bottom, right = max(top, round(box.y + reach * box.side)), max(left, round(box.x + reach * box.side))
    return left, top, frame[top:bottom, left:right]


def _small(window: np.ndarray, scale: float) -> np.ndarray:
    """Grey and scaled, of every so many pixels where these are many."""
    if not window.size:
        return np.empty((0, 0), np.uint8)
    size = max(1, round(window.shape[1] * scale)), max(1, round(window.shape[0] * scale))
    stride = max(1, int(0.5 / scale))
    grey = cv2.cvtColor(np.ascontiguousarray(window[::stride, ::stride]), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _nearby(cascade: str, frame: np.ndarray, last: Box, lost: int) -> Box | None:
    """The face next to where it was last seen, of about that size; the longer ago, the farther."""
    left, top, window = _window(frame, last, 1.1 + 0.5 * lost)
    if min(window.shape[:2]) < 24:
        return None
    scale = min(1.0, _NEAR / last.side)
    side = last.side * scale
    boxes = _detect(cascade, _grey(window, scale), round(0.65 * side), round(1.5 * side), 3)
    placed = [Box(left + box.x / scale, top + box.y / scale, box.side / scale, box.score) for box in boxes]
    return max(placed, default=None, key=lambda box: box.score * _alike(box, last))


def _anywhere(way: Pass, frame: np.ndarray, last: Box, guess: Box | None) -> Box | None:
    """The face in the whole picture that is most like the last; where there is a guess, one that overlaps it."""
    boxes = [box for box in _in_picture(way, frame) if box.score >= way.score]
    fitting = [box for box in boxes if guess is None or _overlap(box, guess) > 0.3]
    return max(fitting, default=None, key=lambda box: (_alike(box, last), box.score))


def _alike(box: Box, other: Box) -> float:
    """1 for the same place and size, less the farther apart."""
    apart = np.hypot(box.x - other.x, box.y - other.y) / other.side
    return float(np.exp(-apart - abs(np.log(box.side / other.side))))


def _smooth(found: Mapping[int, Box], count: int, still: Box | None) -> np.ndarray:
    """Boxes of some frames to those of all. Shape (T, 3)."""
    numbers = sorted(found)
    boxes = np.array([found[number][:3] for number in numbers])
    runs = list(_shots(boxes))
    if any(len(run) > 1 for run in runs):
        runs = [run for run in runs if len(run) > 1]
    times = np.array(numbers, float)
    middles = [(times[run[-1]] + times[after[0]]) / 2 for run, after in zip(runs, runs[1:], strict=False)]
    shot = np.searchsorted(middles, np.arange(count))
    track = np.empty((count, 3))
    for number, run in enumerate(runs):
        inside = np.flatnonzero(shot == number)
        middle = np.array(still[:3]) if still is not None and len(runs) == 1 else np.median(boxes[run], axis=0)
        calm = _calm(boxes[run])
        wanders = np.abs(calm[:, :2] - middle[:2]).max() > STILL * middle[2]
        if not (grows := np.abs(np.log(calm[:, 2] / middle[2])).max() > np.log(_GROWTH)):
            calm[:, 2] = middle[2]
        if wanders or grows:
            track[inside] = np.stack([np.interp(inside, times[run], column) for column in calm.T], axis=1)
        else:
            track[inside] = middle
    return track


def _shots(boxes: np.ndarray) -> Iterator[np.ndarray]:
    """Which boxes follow upon each other without a jump."""
    moves = np.hypot(*np.diff(boxes[:, :2], axis=0).T)
    jumps = np.flatnonzero(moves > _JUMP * np.maximum(boxes[1:, 2], boxes[:-1, 2])) + 1
    yield from np.split(np.arange(len(boxes)), jumps)


def _calm(boxes: np.ndarray) -> np.ndarray:
    """Without those that neither neighbour comes near; then each is the mean of itself, twice, and its neighbours."""
    wide = np.concatenate([boxes[:1], boxes, boxes[-1:]])
    middle = np.median([wide[:-2], wide[1:-1], wide[2:]], axis=0)
    strays = np.abs(boxes - middle).max(axis=1, keepdims=True) > _STRAY * middle[:, 2:]
    boxes = np.where(strays, middle, boxes)
    out = boxes.copy()
    out[1:-1] = (boxes[:-2] + 2 * boxes[1:-1] + boxes[2:]) / 4
    return out


def _grey(picture: np.ndarray, scale: float) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    if scale < 1.0:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.equalizeHist(grey)


def _detect(name: str, grey: np.ndarray, smallest: int, largest: int = 0, neighbours: int = 5) -> list[Box]:
    boxes, _, weights = _cascade(name).detectMultiScale3(
        grey,
        scaleFactor=1.15,
        minNeighbors=neighbours,
        minSize=(smallest, smallest),
        maxSize=(largest, largest),
        outputRejectLevels=True,
    )
    return [
        Box(x + width / 2, y + height / 2, (width + height) / 2, max(1e-3, float(weight)))
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
