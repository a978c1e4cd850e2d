"""Pictures: valid SVG, text as text, the same twice, and in the page's colours when inside it."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mm_fairseq import metrics
from mm_fairseq.report import figures, predictions
from mm_fairseq.report.summary import summarise

NAMES = ("행복", "a$b$c", "<&>", "x" * 60)


@pytest.fixture
def summary(write_lines, random_lines):
    def make(kind, **fields):
        return summarise(predictions.read(write_lines(random_lines(kind, **fields)))[0])

    return make


def texts(svg):
    return [node.text for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def drawn(summary):
    bins = metrics.reliability([0.9, 0.2, 0.6], [1, 0, 0])
    return {
        "confusion": figures.confusion(summary("single", classes=NAMES)),
        "scatter": figures.scatter(summary("regression")),
        "curve": figures.curve("wa", {"train": {1: 0.1, 2: 0.3}, "valid": {1: 0.2, 2: float("nan")}}, 1),
        "reliability": figures.reliability(bins, 0.3, "share that is right"),
    }


def test_labels_stay_text_in_any_script(drawn):
    assert {"행복", "a$b$c", "<&>", "x" * 23 + "…"} <= set(texts(drawn["confusion"]))
    assert {"wa", "train", "valid", "epoch"} <= set(texts(drawn["curve"]))
    assert "ece 0.300" in texts(drawn["reliability"])


def test_counts_of_many_classes_leave_out_zeros(summary):
    many = summary("single", classes=[f"c{n}" for n in range(20)])
    counts = sorted(str(count) for count in many.matrix.ravel() if count)
    assert sorted(text for text in texts(figures.confusion(many)) if text.isdigit()) == counts


def test_inside_the_page_there_is_no_colour_and_no_address_of_its_own(drawn):
    for name, svg in drawn.items():
        inline = figures.Picture(f"{name}.svg", name, svg).inline
        assert not re.search(r"https?:|<style|<\?xml|<!DOCTYPE|font-family", inline)
        assert "var(--" in inline
        left = {colour for colour in figures.THEME if colour in inline}
        assert left == set()
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', inline)) <= set(re.findall(r'id="([^"]+)"', inline))
        assert all(each.startswith(name) for each in re.findall(r'id="([^"]+)"', inline))


def test_equal_numbers_are_equal_pictures(summary):
    single = summary("single")
    assert figures.confusion(single) == figures.confusion(single)


def test_an_epoch_alone_is_a_point(drawn):
    alone = figures.curve("wa", {"train": {1: 0.1}})
    assert alone.count("<use") > figures.curve("wa", {"train": {1: 0.1, 2: 0.2}}).count("<use")
    assert np.all([text != "valid" for text in texts(alone)])
