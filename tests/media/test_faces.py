"""The face is found where it was drawn."""

import tracemalloc

import cv2
import numpy as np
import pytest

from mm_fairseq.media import MediaError
from mm_fairseq.media.faces import FRAME_BYTES, decode_jpeg, encode_clip, encode_jpeg, face_crops
from mm_fairseq.media.tracking import follow_face
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
    x, y, side = follow_face([scene] * 5, 5.0)[0][0]
    assert abs(x - (360 + 188)) < 25
    assert abs(y - 254) < 40
    assert 130 < side < 260


def test_crop_is_centred_on_the_face(scene):
    (crop,), fault = face_crops([scene], 256)
    assert fault is None
    assert crop.shape == (256, 256, 3)
    x, _, side = follow_face([crop], 5.0)[0][0]
    assert abs(x - 128) < 15
    assert abs(side - 256 / 1.6) < 30


def test_one_box_for_a_clip_that_hardly_moves(scene):
    shifted = [np.roll(scene, shift, axis=1) for shift in (-4, 0, 4)]
    crops, _ = face_crops([*shifted, np.zeros_like(scene)], 128)
    assert len(crops) == 4
    assert not crops[3].any()
    assert np.abs(crops[0][:, 4:].astype(int) - crops[2][:, :-4]).mean() > 1  # the crop did not go along


def test_the_crop_goes_along_with_the_face(scene):
    wide = np.concatenate([np.full((480, 360, 3), 120, np.uint8), scene], axis=1)
    crops, _ = face_crops([np.roll(wide, -40 * number, axis=1) for number in range(15)], 256)
    for crop in crops:
        x, _, side = follow_face([crop], 5.0)[0][0]
        assert abs(x - 128) < 20
        assert abs(side - 256 / 1.6) < 30


@pytest.mark.parametrize("seed", range(3))
def test_no_face_is_the_middle(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    picture = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    frames = [picture, np.full((240, 320, 3), 90, np.uint8)]
    crops, fault = face_crops(frames, 64)
    assert fault is not None
    assert fault.code == "no_face"
    assert "no face found in any of the 2 frames looked at" in str(fault)
    for crop, middle in zip(crops, face_crops(frames, 64, "center")[0], strict=True):
        assert np.array_equal(crop, middle)


def test_modes_without_detection():
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 200
    assert (face_crops([picture], 64, "center")[0][0] == 200).all()
    assert 0.25 < (face_crops([picture], 64, "none")[0][0] > 100).mean() < 0.42


def test_jpeg_keeps_colours():
    picture = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    data = encode_jpeg(picture)
    assert data.startswith(b"\xff\xd8")
    for form in (data, np.frombuffer(data, np.uint8)):
        assert np.abs(decode_jpeg(form).astype(int) - picture).max() <= 3
    with pytest.raises(MediaError, match="not a JPEG"):
        decode_jpeg(b"nonsense")


@pytest.mark.parametrize("size", [64, 256, 320])
def test_five_seconds_are_at_most_a_megabyte_and_a_half(size):
    """Noise, the worst there is; larger pictures may have more, each pixel as much."""
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (size, size, 3)).astype(np.uint8) for _ in range(50)]
    encoded = encode_clip(clip)
    assert sum(map(len, encoded)) <= 1_499_000 * max(1, size / 256) ** 2
    assert len(encode_jpeg(clip[0])) > FRAME_BYTES or size == 64
    assert decode_jpeg(encoded[0]).shape == clip[0].shape


def test_what_is_small_enough_has_the_best_quality(scene):
    crops, _ = face_crops([scene] * 3)
    assert encode_clip(crops) == [encode_jpeg(crop, 95) for crop in crops]


def test_the_crops_of_a_long_clip_are_never_all_in_memory():
    """Larger than their frames: 25 pictures a second of a small film are many gigabytes."""
    frames = [np.full((16, 16, 3), 50, np.uint8)] * 400
    tracemalloc.start()
    crops, _ = face_crops(frames, 256, "center")
    encoded = encode_clip(crops)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(encoded) == len(crops) == 400
    assert peak < 40 * crops[0].nbytes


@pytest.mark.real
def test_speakers_of_grid(real_data):
    for path in sorted((real_data / "grid").glob("*.mpg")):
        x, y, side = follow_face(read_frames(path), 5.0)[0][0]
        assert abs(x - 180) < 40
        assert abs(y - 160) < 40
        assert 100 < side < 200


@pytest.mark.real
def test_clips_of_grid_are_small_enough_in_the_best_quality(real_data):
    for path in sorted((real_data / "grid").glob("*.mpg")):
        frames = read_frames(path, fps=10)
        crops, _ = face_crops(frames, 256, "detect", 10)
        encoded = encode_clip(crops)
        assert len(encoded) == 30
        assert sum(map(len, encoded)) < 1_500_000 * 3 / 5
        assert encoded[0] == encode_jpeg(crops[0], 95)
