"""The face is found where it was drawn."""

import cv2
import numpy as np
import pytest

from mm_fairseq.media import MediaError
from mm_fairseq.media.faces import decode_jpeg, encode_jpeg, face_crops, find_face
from mm_fairseq.media.video import read_frames
from mm_fairseq.toy import faces as drawn


@pytest.fixture(scope="module")
def scene():
    """A drawn head in the right half of a wider picture, with a wall to its left. Shape (480, 720, 3)."""
    rng = np.random.default_rng(0)
    who = drawn.look("F", rng)
    picture = drawn.portrait(drawn.head(who, rng), who, 0.0, 0.0, 0.3)
    picture = np.clip(picture, 0, 255).astype(np.uint8)[:480, :360]
    return np.concatenate([np.full((480, 360, 3), 120, np.uint8), picture], axis=1)


def test_place_of_the_face(scene):
    x, y, side = find_face([scene] * 5)
    assert abs(x - (360 + 188)) < 25
    assert abs(y - 254) < 40
    assert 130 < side < 260


def test_crop_is_centred_on_the_face(scene):
    (crop,) = face_crops([scene], 256)
    assert crop.shape == (256, 256, 3)
    x, _, side = find_face([crop])
    assert abs(x - 128) < 15
    assert abs(side - 256 / 1.6) < 30


def test_one_box_for_the_clip(scene):
    moved = [np.roll(scene, shift, axis=1) for shift in (-4, 0, 4)]
    crops = face_crops([*moved, np.zeros_like(scene)], 128)
    assert len(crops) == 4
    assert not crops[3].any()


@pytest.mark.parametrize("seed", range(3))
def test_no_face(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    picture = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    with pytest.raises(MediaError, match="no face found") as caught:
        face_crops([picture, np.full((240, 320, 3), 90, np.uint8)])
    assert caught.value.code == "no_face"


def test_modes_without_detection():
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 200
    assert (face_crops([picture], 64, "center")[0] == 200).all()
    assert 0.25 < (face_crops([picture], 64, "none")[0] > 100).mean() < 0.42


def test_jpeg_keeps_colours():
    picture = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    data = encode_jpeg(picture)
    assert data.startswith(b"\xff\xd8")
    for form in (data, np.frombuffer(data, np.uint8)):
        assert np.abs(decode_jpeg(form).astype(int) - picture).max() <= 3
    with pytest.raises(MediaError, match="not a JPEG"):
        decode_jpeg(b"nonsense")


@pytest.mark.real
def test_speakers_of_grid(real_data):
    for path in sorted((real_data / "grid").glob("*.mpg")):
        x, y, side = find_face(read_frames(path))
        assert abs(x - 180) < 40
        assert abs(y - 160) < 40
        assert 100 < side < 200
