from itertools import product

import cv2
import numpy as np
import pytest

from mm_fairseq.toy import faces

EYES = np.s_[faces.CENTRE[1] - 75 : faces.CENTRE[1] + 10, 80:300]
MOUTH = np.s_[faces.CENTRE[1] + 35 : faces.CENTRE[1] + 95, 80:300]


@pytest.fixture(scope="module", params=range(4))
def sitter(request):
    """A look and its head."""
    rng = np.random.default_rng(request.param)
    look = faces.look("FM"[request.param % 2], rng)
    return look, faces.head(look, rng)


def _draw(sitter, *expression):
    look, head = sitter
    return faces.portrait(head, look, *expression)


@pytest.mark.parametrize("cascade", ["alt2", "default"])
def test_face_finders_find_practically_every_expression(sitter, cascade):
    finder = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{cascade}.xml")
    found = 0
    for expression in product((-1, 0, 1), (-1, 0, 1), (0, 1)):
        grey = cv2.cvtColor(_draw(sitter, *expression), cv2.COLOR_RGB2GRAY)
        for x, y, width, height in finder.detectMultiScale(grey, 1.1, 5, minSize=(120, 120)):
            assert x < faces.CENTRE[0] < x + width
            assert y < faces.CENTRE[1] < y + height
            found += 1
    assert found in (17, 18)


def test_the_head_lies_in_the_rows_that_preprocessing_cuts(sitter):
    look, head = sitter
    at_ease = _draw(sitter, 0, 0, 0)
    skin_or_hair = np.abs(at_ease[:, faces.CENTRE[0]].astype(float) - np.array(look.wall)).sum(1) > 60
    top = skin_or_hair.argmax()
    assert 112 <= top - faces.MARGIN < 150
    moved = (at_ease != np.clip(head, 0, 255).astype(np.uint8)).any((1, 2)).nonzero()[0] - faces.MARGIN
    assert moved.min() > 112
    assert moved.max() < 368


def test_expressions_move_their_own_part_of_the_face(sitter):
    def change(part, first, second):
        return np.abs(_draw(sitter, *first)[part].astype(float) - _draw(sitter, *second)[part]).mean()

    assert change(EYES, (-1, 0, 0), (1, 0, 0)) > 10
    assert change(MOUTH, (-1, 0, 0), (1, 0, 0)) == 0
    assert change(MOUTH, (0, -1, 0), (0, 1, 0)) > 8
    assert change(EYES, (0, -1, 0), (0, 1, 0)) == 0
    assert change(MOUTH, (0, 0, 0), (0, 0, 1)) > 5
    assert change(EYES, (0, 0, 0), (0, 0, 0, True)) > 2
