"""A face that moves stays in the crop; one that does not keeps one box."""

import cv2
import numpy as np
import pytest

from mm_fairseq.media.faces import MARGIN
from mm_fairseq.media.tracking import follow_face
from mm_fairseq.media.video import read_frames
from mm_fairseq.toy import acted
from mm_fairseq.toy.cues import Cue

SIZE = (480, 360)  # of the picture that is moved about, width and height
COUNT = 15  # frames of 3 s


def actor(seed, count=COUNT):
    """A drawn head that speaks, hardly moving. Shape (count, 360, 480, 3)."""
    rng = np.random.default_rng(seed)
    _, frames = acted.perform(acted.actor("MF"[seed % 2], rng), Cue(1, 1), Cue(1, -1), count / 5, 5, SIZE, rng)
    return np.stack(frames[:count])


def track_of(frames, fps):
    return follow_face(frames, fps)[0]


def box(frames):
    """Where a face that stays is: centre x, centre y, side."""
    return track_of(list(frames), 5.0)[0]


@pytest.fixture(scope="module")
def still():
    return actor(0)


@pytest.fixture(scope="module")
def place(still):
    return box(still)


def moved(frames, path):
    """Frames pasted into larger ones, their left upper corner and scale by `path`. Shape (T, 480, 640, 3)."""
    out = []
    for frame, (left, top, scale) in zip(frames, path, strict=True):
        shift = np.array([[scale, 0, left], [0, scale, top]], np.float32)
        out.append(cv2.warpAffine(frame, shift, (640, 480), borderMode=cv2.BORDER_REPLICATE))
    return out


def truth(place, path):
    return np.array([(left + place[0] * scale, top + place[1] * scale, place[2] * scale) for left, top, scale in path])


def inside(track, true):
    """In how many frames the whole face lies in the crop, as a share."""
    off = np.abs(track[:, :2] - true[:, :2]).max(axis=1)
    return (off + true[:, 2] / 2 <= MARGIN * track[:, 2] / 2).mean()


def test_a_face_that_stays_has_one_box(still, place):
    track = track_of(list(still), 5.0)
    assert track.shape == (COUNT, 3)
    assert (track == place).all()


def test_a_small_wobble_is_no_movement(still):
    path = [(80 + 12 * np.sin(number), 40 + 8 * np.cos(number), 0.9) for number in range(COUNT)]
    assert len(np.unique(track_of(moved(still, path), 5.0), axis=0)) == 1


@pytest.mark.parametrize(
    "path",
    [
        [(-80 + 18 * number, 30 + 20 * np.sin(number / 2), 0.8) for number in range(COUNT)],
        [(170 - 10 * number, 40, 0.8) for number in range(COUNT)],
        [(100 - 4 * number, 40 - 2 * number, 0.64 + 0.04 * number) for number in range(COUNT)],
        [(120 + 90 * np.sin(number / 2), 40, 0.8) for number in range(COUNT)],
    ],
    ids=["across", "back", "nearer", "to and fro"],
)
def test_a_face_that_moves_stays_in_the_crop(still, place, path):
    frames, true = moved(still, path), truth(place, path)
    track = track_of(frames, 5.0)
    assert inside(track, true) == 1
    assert (np.abs(track[:, :2] - true[:, :2]) / true[:, 2:]).max() < 0.35
    if path[0][2] == path[-1][2]:  # one box for all, as large as the face is last, holds one that comes nearer
        assert inside(np.tile(np.median(track, axis=0), (COUNT, 1)), true) < 1


def test_more_frames_a_second_are_filled_in():
    frames = actor(1, 40)
    place = box(frames)
    path = [(-60 + 6 * number, 40, 0.8) for number in range(40)]
    assert inside(track_of(moved(frames, path), 20.0), truth(place, path)) == 1


def test_another_shot_is_no_movement(still, place):
    """Nothing between two places is ever shown."""
    path = [(-60, 40, 0.8)] * 7 + [(230, 40, 0.8)] * 8
    track = track_of(moved(still, path), 5.0)
    assert inside(track, truth(place, path)) == 1
    assert len(np.unique(track, axis=0)) == 2


def test_a_face_that_is_hidden_for_a_while(still, place):
    """The box waits, and takes up the face where it comes back."""
    path = [(40 + 8 * number, 40, 0.8) for number in range(COUNT)]
    frames = moved(still, path)
    for number in (6, 7, 8):
        frames[number] = np.full_like(frames[number], 90)
    track, true = track_of(frames, 5.0), truth(place, path)
    seen = [number for number in range(COUNT) if number not in (6, 7, 8)]
    assert inside(track[seen], true[seen]) == 1
    assert (np.abs(np.diff(track[:, 0])) < 40).all()


def test_one_of_two_people_is_followed(still):
    """They never change places, whoever of them it is."""
    other = actor(1)
    mine = [(-90 + 6 * number, 60, 0.7) for number in range(COUNT)]
    theirs = [(250, 160, 0.5)] * COUNT
    frames = []
    for left, right in zip(moved(still, mine), moved(other, theirs), strict=True):
        left[:, 380:] = right[:, 380:]
        frames.append(left)
    track = track_of(frames, 5.0)
    first, second = (truth(box(who), path) for who, path in ((still, mine), (other, theirs)))
    assert max(inside(track, first), inside(track, second)) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_clips_of_few_frames(still, place, count):
    track = track_of(list(still[:count]), 5.0)
    assert track.shape == (count, 3)
    assert np.abs(track - place).max() < 0.1 * place[2]


def test_a_wall_has_no_face():
    assert track_of([np.full((120, 160, 3), 90, np.uint8)] * 5, 5.0) is None
    assert track_of([np.full((16, 16, 3), 90, np.uint8)], 5.0) is None


@pytest.mark.real
def test_speakers_of_grid_in_motion(real_data):
    """Real faces that move as given; those who sit still keep the box they had."""
    for path in sorted((real_data / "grid").glob("*.mpg")):
        frames = read_frames(path)
        place = box(frames)
        assert (track_of(frames, 5.0) == place).all()
        way = [(-30 + 22 * number, 60 + 20 * np.sin(number / 2), 0.9) for number in range(len(frames))]
        assert inside(track_of(moved(frames, way), 5.0), truth(place, way)) == 1


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (2, 3, 5)])
def test_faces_at_once_are_counted(seeds):
    side_by_side = np.concatenate([actor(seed) for seed in seeds], axis=2)
    assert follow_face(list(side_by_side), 5.0)[1] == len(seeds)


def test_one_after_another_is_one_at_once(still):
    empty = np.full_like(still, 90)
    halves = [np.concatenate(pair, axis=2) for pair in ((still[:7], empty[:7]), (empty[7:], still[7:]))]
    assert follow_face(list(np.concatenate(halves)), 5.0)[1] == 1
    assert follow_face(list(empty), 5.0) == (None, 0)
