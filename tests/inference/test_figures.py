"""Pictures of explanations: what stands where, in any script, for clips that lack something, on any page."""

import io
import logging
import re
import threading
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import Inputs
from mm_fairseq.inference.attention import Shown
from mm_fairseq.inference.explain import WORDS_NOTE, Effect, Explanation, Spoken
from mm_fairseq.inference.figures import THEMES, _edges, _Picture, _with_room, draw
from mm_fairseq.inference.fonts import BOX, drawable
from mm_fairseq.inference.model import Answer
from mm_fairseq.inference.timeline import Point, draw_timeline
from mm_fairseq.targets import Target, kind_of

KIND = kind_of(Target("emotion", "single", ("angry", "glad", "sad")))
RATE, SECONDS, PICTURES = 16000, 2.0, 8


def items_of(names, words=6):
    rng = np.random.default_rng(0)
    made = {
        "audio": rng.uniform(-0.3, 0.3, int(RATE * SECONDS)).astype(np.float32),
        "video": rng.integers(0, 256, (PICTURES, 3, 32, 32)).astype(np.uint8),
        "text": np.array([0, *range(4, 4 + words), 2]),
    }
    return {name: made[name] for name in names}


def answer_of(inputs, scores=(0.2, 0.7, 0.1)):
    return Answer(inputs, {"emotion": KIND}, {"emotion": np.array(scores)}, None)


def explanation_of(
    names=("audio", "text", "video"), text="What a very fine day, Ann!", seen=True, length=SECONDS, **changes
):
    """Weights that rise with time; without sound the score falls, without words it rises."""
    spoken = text.split() if "text" in names else []
    inputs = Inputs("clip-1", items_of(names, len(spoken)), seconds=length, text=text)
    counts = {"audio": 50, "video": PICTURES, "text": len(spoken)}
    shown = {}
    for name in names:
        edges, weights = np.linspace(0, length, counts[name] + 1), np.arange(1.0, counts[name] + 1)
        frames = tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        shown[name] = Shown("cross", ("audio",), ("x",), frames, tuple(weights / weights.sum())) if seen else None
    places = np.linspace(0, length, len(spoken) + 1)
    words = [
        Spoken(word, places[at], places[at + 1], shown["text"].weights[at] if seen else None, (word,), False)
        for at, word in enumerate(spoken)
    ]
    effects = [Effect((name,), answer_of(inputs.without([name]), (0.6, 0.3, 0.1)), 0.3, -0.4) for name in names]
    effects = effects if len(names) > 1 else []
    notes = {"text": WORDS_NOTE} if "text" in names else {}
    made = {
        "architecture": "ssl_fusion",
        "answer": answer_of(inputs),
        "target": "emotion",
        "label": "glad",
        "score": 0.7,
        "unit": "seconds",
        "length": length,
        "reach": dict.fromkeys(names, length),
        "curves": (),
        "shown": shown,
        "words": tuple(words),
        "effects": tuple(effects),
        "notes": notes,
    }
    return Explanation(**(made | changes)), inputs


def picture(explanation, inputs, **how):
    file = io.BytesIO()
    draw(explanation, inputs, file, **how)
    return imread(io.BytesIO(file.getvalue()), format="png")


def texts(explanation, inputs):
    figure = _Picture(explanation, inputs, THEMES["light"]).figure
    places = [figure, *figure.axes]
    return [text.get_text() for place in places for text in place.texts if text.get_text()]


@pytest.fixture(autouse=True)
def nothing_is_warned_of(caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what other tests left
        yield
    assert caplog.records == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("names", [("audio", "text", "video"), ("audio", "video"), ("text",), ("video",)], ids="+".join)
def test_a_picture_is_1200_wide_and_has_the_colours_of_its_page(names, theme):
    pixels = picture(*explanation_of(names), theme=theme)
    assert pixels.shape[1] == 1200
    assert 150 < pixels.shape[0] < 1100
    paper = np.array([int(THEMES[theme].paper[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    assert np.allclose(pixels[[0, 0, -1, -1], [0, -1, 0, -1], :3], paper, atol=0.01)
    same = np.isclose(pixels[..., :3], paper, atol=0.01).all(-1)
    assert 0.02 < 1 - same.mean() < 0.7
    assert same[:, [0, 1, 2, -3, -2, -1]].all()  # nothing is cut off at the sides
    assert same[[0, 1, -2, -1]].all()


def test_all_that_is_told_is_written():
    found = texts(*explanation_of())
    assert {"glad 0.700", "sound", "pictures", "words", "seconds", WORDS_NOTE} <= set(found)
    assert {"What", "a", "very", "fine", "day,", "Ann!"} <= set(found)
    assert found.count("0.300 (−0.400), then angry") == 3
    assert "emotion · ssl_fusion · clip-1" in found


def test_one_axis_for_all():
    explanation, inputs = explanation_of()
    figure = _Picture(explanation, inputs, THEMES["light"]).figure
    timeline = figure.axes[:-1]
    assert len(timeline) == 6
    assert {axes.get_xlim() for axes in timeline} == {(0.0, SECONDS)}
    assert len({(axes.get_position().x0, axes.get_position().x1) for axes in timeline}) == 1
    tops = [axes.get_position().y0 for axes in figure.axes]
    assert tops == sorted(tops, reverse=True)


def test_curves_show_the_weights_beside_the_even_share():
    explanation, inputs = explanation_of(("video",))
    axes = _Picture(explanation, inputs, THEMES["light"]).figure.axes[1]
    values, edges, _ = axes.patches[0].get_data()
    assert np.allclose(values, 8 * np.arange(1, 9) / 36)
    assert np.allclose(edges, np.linspace(0, SECONDS, 9))


def test_pictures_stand_at_their_times_and_are_whole():
    explanation, inputs = explanation_of(("video",))
    axes = _Picture(explanation, inputs, THEMES["light"]).figure.axes[0]
    shown = axes.get_images()
    assert len(shown) == PICTURES
    for number, image in enumerate(shown):
        left, right, *_ = image.get_extent()
        assert (left + right) / 2 == pytest.approx((number + 0.5) / PICTURES * SECONDS, abs=SECONDS / 20)
        assert np.array_equal(image.get_array(), inputs.items["video"][number].transpose(1, 2, 0))


@pytest.mark.parametrize(
    "text", ["정말 화가 나 죽겠어", "我 很 好", "क्या हुआ", "مرحبا بك", "😀 fine $x_1$ \\frac", "a\x07b\u200b c"]
)
def test_any_script_is_drawn_without_a_warning_and_kept_in_the_data(text):
    explanation, inputs = explanation_of(text=text, label=text)
    assert picture(explanation, inputs).shape[1] == 1200
    assert [word["word"] for word in explanation.to_json()["words"]] == text.split()


def test_a_character_without_a_glyph_is_a_box():
    assert drawable("déjà \U0001f9ff", 10) == f"déjà {BOX}"
    assert drawable("abcdef", 4) == "abc…"
    assert drawable("a\n\x00b", 9) == "ab"


@pytest.mark.parametrize("count", [1, 14, 60, 400])
def test_as_many_words_are_written_as_have_room(count):
    explanation, inputs = explanation_of(("text",), text=" ".join(f"word{n}" for n in range(count)))
    written = [text for text in texts(explanation, inputs) if re.fullmatch(r"word\d+", text)]
    assert len(written) == min(count, len(_with_room(range(count), 1020 / count)))
    assert f"word{count - 1}" in written  # the heaviest
    assert picture(explanation, inputs).shape[1] == 1200


def test_features_long_silence_and_a_single_frame_can_be_drawn():
    explanation, inputs = explanation_of(("audio", "video"))
    inputs.items["audio"] = np.zeros((50, 7), np.float32)
    picture(explanation, inputs)
    inputs.items["audio"] = np.zeros(16000, np.float32)
    inputs.items["video"] = inputs.items["video"][:1]
    picture(explanation, inputs)
    inputs.items["audio"] = np.zeros(400, np.float32)
    picture(explanation, inputs)


def test_where_nothing_is_attended_to_the_reason_stands():
    explanation, inputs = explanation_of(seen=False)
    reasons = [text for text in texts(explanation, inputs) if "as it stands" in text]
    assert len(reasons) == 3
    picture(explanation, inputs)


def test_a_clip_without_a_length_and_a_number_as_a_target():
    explanation, inputs = explanation_of(("text",), unit="share", length=1.0, label="emotion", score=-1.25)
    found = texts(explanation, inputs)
    assert "emotion -1.25" in found
    assert any("share of the clip" in text for text in found)
    assert any("nothing to leave out" in text for text in found)


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_files_of_every_format_are_the_same_each_time(format, tmp_path):
    explanation, inputs = explanation_of(("audio", "text"))
    path, file = tmp_path / f"picture.{format}", io.BytesIO()
    draw(explanation, inputs, path)
    draw(explanation, inputs, file, format=format)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format]
    assert path.read_bytes().startswith(start)
    assert len(file.getvalue()) > 1000
    assert path.read_bytes() == file.getvalue()


def test_unknown_themes_and_formats_are_named(tmp_path):
    explanation, inputs = explanation_of(("text",))
    with pytest.raises(MMFairseqError, match=r"theme 'sepia'; allowed: light, dark"):
        draw(explanation, inputs, tmp_path / "a.png", theme="sepia")
    with pytest.raises(MMFairseqError, match=r"format of a picture 'bmp'; allowed: png, svg, pdf"):
        draw(explanation, inputs, tmp_path / "a.bmp")
    assert list(tmp_path.iterdir()) == []


def test_threads_draw_at_once_and_nothing_global_is_touched():
    before, made = dict(matplotlib.rcParams), [explanation_of(text=f"number {n}") for n in range(3)]
    expected = [picture(*each) for each in made]
    found = [None] * 3

    def work(number):
        found[number] = picture(*made[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert dict(matplotlib.rcParams) == before


def test_a_timeline_that_is_drawn_beside_it_changes_nothing(tmp_path):
    """Its style is set for the whole process."""
    wanted, stop = picture(*explanation_of()), threading.Event()

    def timelines():
        points = [Point(0.0, 1.0, {"emotion": {"glad": 0.5}})]
        while not stop.is_set():
            draw_timeline(tmp_path / "a.png", iter(points), {"emotion": ("glad",)}, 1)

    beside = threading.Thread(target=timelines)
    beside.start()
    try:
        found = [picture(*explanation_of()) for _ in range(3)]
    finally:
        stop.set()
        beside.join()
    assert all(np.array_equal(each, wanted) for each in found)


def test_edges_lie_between_the_middles_of_frames_that_overlap():
    assert _edges([(0.0, 0.4), (0.2, 0.6), (0.4, 0.8)]).tolist() == pytest.approx([0.0, 0.3, 0.5, 0.8])
    assert _edges([(0.0, 1.0)]).tolist() == [0.0, 1.0]
