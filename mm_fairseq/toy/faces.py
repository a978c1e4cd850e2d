"""Drawn faces: shaded heads whose brows and eyes show the pair and whose mouth corners show the detail of a cue.

A portrait is one half of IEMOCAP's picture, 360 x 480 pixels, RGB uint8, with the head in rows 112 to 368. `MARGIN`
more pixels on every side let the camera wobble by slicing.
"""

from typing import NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT = 360, 480
MARGIN = 8
CENTRE = (WIDTH // 2 + MARGIN, 246 + MARGIN)

_Colour = tuple[float, float, float]
_SKINS: tuple[_Colour, ...] = ((236, 196, 172), (224, 180, 150), (206, 160, 128), (242, 206, 186))
_HAIRS: tuple[_Colour, ...] = ((52, 36, 28), (84, 58, 38), (38, 34, 36), (110, 80, 48))


class Look(NamedTuple):
    """A speaker's appearance: colours as RGB, head half-width in pixels, hair down to the shoulders or short."""

    skin: _Colour
    hair: _Colour
    shirt: _Colour
    wall: _Colour
    head: int
    long_hair: bool


def look(letter: str, rng: np.random.Generator) -> Look:
    """Draw the appearance of a woman (F) or a man (M)."""
    shirt = tuple(float(value) for value in rng.integers(50, 150, size=3))
    wall = tuple(float(value) for value in rng.integers(110, 140) + rng.integers(-8, 8, size=3))
    skin, hair = _SKINS[rng.integers(len(_SKINS))], _HAIRS[rng.integers(len(_HAIRS))]
    return Look(skin, hair, shirt, wall, int(rng.integers(78, 85)), letter == "F")  # type: ignore[arg-type]


def head(who: Look, rng: np.random.Generator) -> np.ndarray:
    """Everything that no expression moves: wall, shoulders, hair, shaded skin, nose. Float32, Shape (H, W, 3)."""
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    x, y = CENTRE
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = who.wall
    picture *= (1.1 - 0.2 * rows / height)[..., None]
    dark = _scaled(who.skin, 0.68)
    if who.long_hair:
        cv2.ellipse(picture, (x, y + 10), (who.head + 22, 128), 0, 0, 360, who.hair, -1, cv2.LINE_AA)
    cv2.ellipse(picture, (x, height + 10), (165, 145), 0, 180, 360, who.shirt, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (x - 34, y + 70), (x + 34, y + 140), dark, -1)
    cv2.ellipse(picture, (x, y + 140), (34, 16), 0, 0, 180, dark, -1, cv2.LINE_AA)
    cv2.ellipse(picture, (x, y - 32), (who.head + 9, 92), 0, 170, 370, who.hair, -1, cv2.LINE_AA)

    skin: np.ndarray = np.zeros((height, width), np.float32)
    cv2.ellipse(skin, (x, y), (who.head, 112), 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    cv2.ellipse(skin, (x, y - 112), (who.head, 42), 0, 0, 360, 0.0, -1, cv2.LINE_AA)
    skin = cv2.GaussianBlur(skin, (0, 0), 1.5)[..., None]
    light = 1.08 - 0.36 * (((columns - x + 10) / who.head) ** 2 + 0.5 * ((rows - y) / 112) ** 2)
    picture = picture * (1 - skin) + np.clip(light, 0.5, 1.1)[..., None] * np.array(who.skin, np.float32) * skin

    shade = np.zeros((height, width), np.float32)
    for side in (-1, 1):
        cv2.ellipse(shade, (x + side * 35, y - 24), (23, 14), 0, 0, 360, 0.30, -1, cv2.LINE_AA)
        cv2.ellipse(shade, (x + side * 9, y + 24), (8, 5), 0, 0, 360, 0.45, -1, cv2.LINE_AA)
    cv2.line(shade, (x + 11, y - 18), (x + 14, y + 18), 0.25, 6, cv2.LINE_AA)
    cv2.ellipse(shade, (x, y + 92), (40, 10), 0, 0, 360, 0.15, -1, cv2.LINE_AA)
    picture *= 1 - cv2.GaussianBlur(shade, (0, 0), 5)[..., None]
    ridge = np.zeros((height, width), np.float32)
    cv2.line(ridge, (x - 1, y - 22), (x - 1, y + 14), 22.0, 7, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.ellipse(ridge, (x + side * 42, y + 22), (20, 14), 0, 0, 360, 14.0, -1, cv2.LINE_AA)
    picture += cv2.GaussianBlur(ridge, (0, 0), 5)[..., None]
    return picture + rng.normal(0, 2.5, (height, width, 1)).astype(np.float32)


def portrait(base: np.ndarray, who: Look, lift: float, corners: float, mouth: float, blink: bool = False) -> np.ndarray:
    """Draw an expression upon a head.

    Args:
        base: what `head` returned.
        who: whose head it is.
        lift: -1 low straight brows and narrow eyes, 0 at ease, 1 high arched brows and wide eyes.
        corners: -1 corners of the mouth down, 0 level, 1 up with teeth.
        mouth: how far the mouth is open, 0 to 1.
        blink: eyes shut.

    Returns:
        RGB uint8, Shape (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, 3).
    """
    picture = base.copy()
    x, y = CENTRE
    for side in (-1, 1):
        _eye(picture, (x + side * 35, y - 20), 0.12 if blink else 1 + 0.55 * lift)
        brow = np.linspace(-27, 27, 9)
        arch = (1 + lift) * 7 * (1 - (brow / 27) ** 2) + (1 - lift) * 2.5 * side * brow / 27
        points = np.stack([x + side * 36 + brow, y - 44 - 11 * lift - arch], axis=1)
        cv2.polylines(picture, [_fixed(points)], False, who.hair, 9, cv2.LINE_AA, 4)
    _lips(picture, (x, y + 58), 36 + 8 * abs(corners), corners * 17, 3 + 15 * mouth, teeth=corners > 0.4)
    x0, x1, y0, y1 = x - 95, x + 96, y - 90, y + 105
    picture[y0:y1, x0:x1] = cv2.GaussianBlur(picture[y0:y1, x0:x1], (0, 0), 1.2)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _eye(picture: np.ndarray, centre: tuple[int, int], openness: float) -> None:
    x, y = centre
    half = max(1, round(9 * openness))
    white = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(white, centre, (19, half), 0, 0, 360, 255, -1, cv2.LINE_AA)
    window = np.s_[y - 20 : y + 21, x - 24 : x + 25]
    ball = picture[window].copy()
    ball[:] = (226, 222, 218)
    cv2.circle(ball, (24, 20), 9, (74, 54, 40), -1, cv2.LINE_AA)
    cv2.circle(ball, (24, 20), 5, (18, 14, 14), -1, cv2.LINE_AA)
    cv2.circle(ball, (27, 17), 2, (250, 250, 250), -1, cv2.LINE_AA)
    alpha = (white[window] / np.float32(255))[..., None]
    picture[window] = picture[window] * (1 - alpha) + ball * alpha
    cv2.ellipse(picture, (x, y), (20, half), 0, 190, 350, (44, 30, 26), 4, cv2.LINE_AA)
    cv2.ellipse(picture, (x, y), (19, half), 0, 20, 160, (120, 84, 70), 1, cv2.LINE_AA)


def _lips(
    picture: np.ndarray, centre: tuple[int, int], half_width: float, bend: float, opening: float, teeth: bool
) -> None:
    x, y = centre
    across = np.linspace(-1, 1, 17)
    middle = y + bend * (0.5 - across**2)
    round_ = np.sqrt(np.clip(1 - across**2, 0, 1))

    def band(above: float, below: float, colour: _Colour) -> None:
        top = np.stack([x + half_width * across, middle - above * round_], axis=1)
        low = np.stack([x + half_width * across, middle + below * round_], axis=1)
        cv2.fillPoly(picture, [_fixed(np.concatenate([top, low[::-1]]))], colour, cv2.LINE_AA, 4)

    band(opening / 2 + 6, opening + 8, (170, 84, 84))
    band(opening / 2, opening, (60, 22, 26))
    if teeth:
        band(opening / 2, opening / 4 + 2, (232, 228, 220))


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * 16).astype(np.int32)


def _scaled(colour: _Colour, factor: float) -> _Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
